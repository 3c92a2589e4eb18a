package wnode

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/mailserver/archive/foreign"
	"whisperpush/mailserver/archive/portable"
	"whisperpush/postgres"
	"whisperpush/wnode/node"
)

func archiveCommand() *cli.Command {
	return &cli.Command{
		Name:  "archive",
		Usage: "count, export, import and prune the archived envelopes",
		Description: "A node that runs is asked over its local socket and goes on meanwhile; if none runs, its data directory is opened.\n\n" +
			"Example:\n   wnode archive stats --datadir /var/lib/whisperpush",
		Subcommands: []*cli.Command{
			{
				Name: "stats", Usage: "show what is archived",
				Flags: append(settingFlags(), jsonFlag()),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return withKeeper(c, func(k keeper) error {
						report, err := k.ArchiveStats(c.Context)
						if err != nil {
							return err
						}
						if c.Bool("json") {
							return printJSON(c.App.Writer, report)
						}
						return printStats(c.App.Writer, report)
					})
				},
			},
			{
				Name: "prune", Usage: "drop what was archived longer ago than AGE, such as 7d, and has expired", ArgsUsage: "AGE",
				Description: "Whole partitions are dropped, a 32nd of the retention each, oldest first. It can be repeated.",
				Flags:       append(settingFlags(), jsonFlag()),
				Action: func(c *cli.Context) error {
					text, err := oneArgument(c, "AGE")
					if err != nil {
						return err
					}
					age, err := config.ParseDuration(text)
					if err != nil {
						return fmt.Errorf("AGE: %w", err)
					}
					return withKeeper(c, func(k keeper) error {
						report, err := k.PruneArchive(c.Context, time.Now().Add(-time.Duration(age)))
						if err != nil {
							return err
						}
						if c.Bool("json") {
							return printJSON(c.App.Writer, report)
						}
						_, err = fmt.Fprintf(c.App.Writer, "dropped %s, about %d bytes\n", plural(report.Partitions, "partition"), report.Bytes)
						return err
					})
				},
			},
			{
				Name: "export", Usage: "write all envelopes to FILE, or to standard output if it is -", ArgsUsage: "FILE",
				Description: "The form portable is a stream with a checksum, which wnode archive import reads. The form geth is a directory\n" +
					"with the LevelDB database of go-ethereum v1.9.20's mailserver, which opens it with -dbpath.",
				Flags:  append(settingFlags(), jsonFlag(), &cli.StringFlag{Name: "form", Usage: "`portable|geth`", Value: "portable"}),
				Action: exportAction,
			},
			{
				Name: "import", Usage: "archive what SOURCE has and the archive has not", ArgsUsage: "SOURCE",
				Description: "SOURCE is a file that wnode archive export wrote, - for standard input, the directory of a LevelDB database of a\n" +
					"mailserver of go-ethereum v1.9.20 or status-go that does not run, or the URL of the PostgreSQL database of one of\n" +
					"status-go's, such as postgres://status@db.example.org/mail.\n" +
					"Each envelope is checked against its own hash and its key. Nobody is woken for what had expired. An import that was\n" +
					"interrupted goes on where it was when it is run again; run once more it changes nothing.",
				Flags:  append(settingFlags(), jsonFlag()),
				Action: importAction,
			},
			pullCommand(),
		},
	}
}

func printStats(w io.Writer, r node.ArchiveReport) error {
	rows := [][]string{{"envelopes", strconv.FormatUint(r.Last+1-r.First, 10)}, {"sequences", fmt.Sprintf("%d to %d", r.First, r.Last)}}
	if r.Last < r.First {
		rows = [][]string{{"envelopes", "0"}}
	}
	if r.Partitions > 0 {
		rows = append(rows, []string{"partitions", strconv.Itoa(r.Partitions)}, []string{"bytes", strconv.FormatInt(r.Bytes, 10)})
	}
	if r.Oldest != "" {
		rows = append(rows, []string{"oldest", r.Oldest}, []string{"newest", r.Newest})
	}
	for _, part := range r.Damaged {
		rows = append(rows, []string{"set aside", part})
	}
	return printTable(w, rows...)
}

// exported is the result of an export, printed as JSON.
type exported struct {
	Envelopes int    `json:"envelopes"`
	To        string `json:"to"`
}

func exportAction(c *cli.Context) error {
	to, err := oneArgument(c, "FILE")
	if err != nil {
		return err
	}
	form := c.String("form")
	if form != "portable" && form != "geth" {
		return fmt.Errorf("--form is %q; give portable or geth", form)
	}
	if form == "geth" && to == "-" {
		return errors.New("--form geth writes a directory; name one in place of -")
	}
	var done exported
	err = withKeeper(c, func(k keeper) error {
		bar := newBars("export", c.App.ErrWriter)
		defer bar.close()
		from, out := io.Pipe()
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(c.Context)
		defer cancel()
		go func() {
			err := k.Export(ctx, out, bar.progress)
			out.CloseWithError(err)
			ended <- err
		}()
		var err error
		switch {
		case form == "geth":
			done.Envelopes, err = exportLevelDB(from, to)
		case to == "-":
			done.Envelopes, err = copyStream(from, c.App.Writer)
		default:
			done.Envelopes, err = exportFile(from, to)
		}
		from.CloseWithError(err)
		return errors.Join(err, ignoreClosed(<-ended, err))
	})
	if err != nil || to == "-" {
		return err
	}
	if done.To = to; c.Bool("json") {
		return printJSON(c.App.Writer, done)
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s in %s\n", plural(done.Envelopes, "envelope"), to)
	return err
}

// ignoreClosed drops err if cause explains it: a writer fails when its reader has failed, and the other way round.
func ignoreClosed(err, cause error) error {
	if cause != nil {
		return nil
	}
	return err
}

// copyStream copies a stream while checking it.
func copyStream(from io.Reader, to io.Writer) (n int, err error) {
	in, err := portable.NewReader(io.TeeReader(from, to))
	if err != nil {
		return 0, err
	}
	for {
		if _, err := in.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

// exportFile writes a stream to a file, which gets its name once it is complete.
func exportFile(from io.Reader, to string) (n int, err error) {
	next := to + ".partial"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = copyStream(from, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(next)
		return n, err
	}
	return n, os.Rename(next, to)
}

// exportLevelDB writes a stream as the database of another mailserver.
func exportLevelDB(from io.Reader, dir string) (n int, err error) {
	in, err := portable.NewReader(from)
	if err != nil {
		return 0, err
	}
	db, err := foreign.CreateLevelDB(dir)
	if err != nil {
		return 0, err
	}
	for {
		r, err := in.Next()
		if err == io.EOF {
			return n, db.Close()
		}
		if err == nil {
			err = db.Put(r.Envelope)
		}
		if err != nil {
			db.Close()
			os.RemoveAll(dir) // it was empty, or missing
			return n, err
		}
		n++
	}
}

const (
	// An import reports back after at most this much.
	importRecords = 1000
	importBytes   = 4 << 20
)

// importReport is what an import did.
type importReport struct {
	Read int `json:"read"`
	node.TakeReport
	Mismatched int    `json:"mismatched"` // of those refused, not what their key says
	Example    string `json:"example,omitempty"`
	Resumed    bool   `json:"resumed"` // it continued where an earlier one was interrupted
}

func importAction(c *cli.Context) error {
	source, err := oneArgument(c, "SOURCE")
	if err != nil {
		return err
	}
	var report importReport
	err = withKeeper(c, func(k keeper) (err error) {
		report, err = importFrom(c, source, k)
		return err
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, report)
	}
	rows := [][]string{
		{"read", strconv.Itoa(report.Read)}, {"archived", strconv.Itoa(report.Archived)}, {"known already", strconv.Itoa(report.Known)},
		{"older than is kept", strconv.Itoa(report.TooOld)}, {"refused", strconv.Itoa(report.Refused)},
	}
	if report.Example != "" {
		rows = append(rows, []string{"refused, for instance", report.Example})
	}
	return printTable(c.App.Writer, rows...)
}

// importFrom imports everything that a source has.
func importFrom(c *cli.Context, source string, k keeper) (report importReport, err error) {
	place := newImportPlace(c, source)
	var raws [][]byte
	size := 0
	var last []byte
	flush := func() error {
		if len(raws) == 0 {
			return nil
		}
		taken, err := k.TakeEnvelopes(c.Context, raws)
		if err != nil {
			return err
		}
		report.add(taken)
		raws, size = nil, 0
		place.save(last)
		return nil
	}
	add := func(key, raw []byte) error {
		report.Read++
		if key != nil {
			last = append(last[:0], key...)
			if err := foreign.Check(key, raw); err != nil {
				report.Refused++
				report.Mismatched++
				if report.Example == "" {
					report.Example = err.Error()
				}
				return nil
			}
		}
		raws = append(raws, append([]byte(nil), raw...))
		if size += len(raw); len(raws) < importRecords && size < importBytes {
			return nil
		}
		return flush()
	}
	info, statErr := os.Stat(source)
	switch {
	case isPostgres(source):
		after := place.load()
		report.Resumed = after != nil
		err = postgres.ReadStatusTable(c.Context, source, postgres.Options{}, after, add)
	case statErr == nil && info.IsDir():
		after := place.load()
		report.Resumed = after != nil
		err = foreign.ReadLevelDB(c.Context, source, after, add)
	default:
		err = importStream(c, source, add)
	}
	if err == nil {
		err = flush()
	}
	if err == nil {
		place.done()
	}
	return report, err
}

// isPostgres reports whether a source is a database.
func isPostgres(source string) bool {
	return strings.HasPrefix(source, "postgres://") || strings.HasPrefix(source, "postgresql://")
}

// importStream reads a file twice, so that nothing of a damaged one is imported.
func importStream(c *cli.Context, source string, add func(key, raw []byte) error) error {
	if source == "-" {
		return readStream(c.Context, c.App.Reader, func(raw []byte) error { return add(nil, raw) })
	}
	for _, take := range []func(raw []byte) error{func([]byte) error { return nil }, func(raw []byte) error { return add(nil, raw) }} {
		f, err := os.Open(source)
		if err != nil {
			return fmt.Errorf("%s cannot be read: %w", source, errors.Unwrap(err))
		}
		err = readStream(c.Context, f, take)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}

func readStream(ctx context.Context, r io.Reader, each func(raw []byte) error) error {
	in, err := portable.NewReader(bufio.NewReader(r))
	for err == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		record, nextErr := in.Next()
		if nextErr == io.EOF {
			return nil
		}
		if err = nextErr; err == nil {
			err = each(record.Envelope.Raw())
		}
	}
	return err
}

// importPlace is a file of the data directory with how far an import has come: the key imported last.
type importPlace struct{ path string }

func newImportPlace(c *cli.Context, source string) importPlace {
	cfg, _, _ := readSettings(c)
	whole := source
	if abs, err := filepath.Abs(source); err == nil && !isPostgres(source) {
		whole = abs
	}
	sum := sha256.Sum256([]byte(whole)) // a URL may hold a password
	return importPlace{filepath.Join(cfg.Node.DataDir, "import-"+hex.EncodeToString(sum[:8]))}
}

func (p importPlace) load() []byte {
	text, err := os.ReadFile(p.path)
	if err != nil {
		return nil
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	return key
}

// save writes the place down, if this user may: without it an import starts over, and finds everything known.
func (p importPlace) save(key []byte) {
	if len(key) > 0 {
		os.WriteFile(p.path, []byte(hex.EncodeToString(key)+"\n"), 0o600)
	}
}

func (p importPlace) done() { os.Remove(p.path) }
