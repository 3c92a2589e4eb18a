package wnode

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

func moveCommand() *cli.Command {
	return &cli.Command{
		Name:      "move",
		Usage:     "take the whole mailserver from its data directory to a database, or back",
		UsageText: "wnode move --to database|directory [flags]",
		Description: "With --to database the archive and the registrations go from the data directory to the PostgreSQL database that\n" +
			"--store names, and with --to directory from there to the data directory. No node may run on either side. Where they go\n" +
			"there may be neither; what is moved stays as it is, and is not to be used any more once a node has run with the copy.\n" +
			"The keys stay in the data directory.\n\n" +
			"Devices do not notice: the log keeps its identity and its sequences, registrations their proofs, what waits for devices\n" +
			"goes on waiting. Ledgers end, as when a node was away for a minute, and a device is given another one.\n\n" +
			"Everything is read back and compared: each envelope, and each record of the registrations. A move that was\n" +
			"interrupted goes on when it is run again; until it is finished no node starts on its half.\n\n" +
			"Example:\n   wnode move --to database --datadir /var/lib/whisperpush --store postgres://wnode@db.example.org/mail",
		Flags: append(settingFlags(), jsonFlag(), &cli.StringFlag{Name: "to", Usage: "`database|directory`"}),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return moveAction(c)
		},
	}
}

func moveAction(c *cli.Context) error {
	move := node.MoveToStore
	switch to := c.String("to"); to {
	case "database":
	case "directory":
		move = node.MoveToDirectory
	case "":
		return fmt.Errorf("say where to: --to database or --to directory")
	default:
		return fmt.Errorf("--to is %q; give database or directory", to)
	}
	cfg, err := settingsOf(c)
	if err != nil {
		return err
	}
	if cfg.Node.Store == "" {
		return fmt.Errorf("name the database with --store, such as postgres://wnode@db.example.org/mail")
	}
	told := newStages(c.App.ErrWriter)
	report, err := move(c.Context, cfg, slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: slog.LevelWarn})), told.progress)
	told.close()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, report)
	}
	return printMove(c.App.Writer, report)
}

func printMove(w io.Writer, r node.MoveReport) error {
	sequences := "none"
	if r.Last >= r.First && r.Log != "" {
		sequences = fmt.Sprintf("%d to %d", r.First, r.Last)
	}
	var cursors []string
	for _, at := range r.Cursors {
		if text := strconv.FormatUint(at, 10); len(cursors) == 0 || cursors[len(cursors)-1] != text {
			cursors = append(cursors, text)
		}
	}
	rows := [][]string{
		{"moved", r.From},
		{"to", r.To},
		{"envelopes", fmt.Sprintf("%d, of %d bytes, each compared", r.Envelopes, r.Bytes)},
		{"sequences", sequences},
		{"registrations", strconv.Itoa(r.Registrations)},
		{"outbox", fmt.Sprintf("%s, for which %s waiting", plural(r.Outboxes, "device"), areMany(r.Waiting, "envelope"))},
		{"records", fmt.Sprintf("%d, each compared", r.Records)},
	}
	if len(cursors) > 0 {
		rows = append(rows, []string{"matched up to", strings.Join(cursors, ", ")})
	}
	if r.Damaged > 0 {
		rows = append(rows, []string{"left out", plural(r.Damaged, "record") + " that could not be read before; their devices register again"})
	}
	return printTable(w, rows...)
}

// areMany returns "3 envelopes are", or "1 envelope is".
func areMany(n int, what string) string {
	if n == 1 {
		return plural(n, what) + " is"
	}
	return plural(n, what) + " are"
}

// stagesEvery is how often long work reports its progress without a terminal.
const stagesEvery = 10 * time.Second

// stages reports the progress of work in several parts: a bar on a terminal, otherwise a line now and then.
type stages struct {
	w     io.Writer
	fancy bool
	stage string
	bar   *progressbar.ProgressBar
	said  time.Time
	open  bool // the end of the stage has not been printed yet
	done  uint64
	total uint64
}

func newStages(stderr io.Writer) *stages {
	s := &stages{w: stderr}
	if f, ok := stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			s.fancy = true
		}
	}
	return s
}

// progress takes the number of records done, and the total, 0 if that is not known.
func (s *stages) progress(stage string, done, total uint64) {
	if stage != s.stage {
		s.close()
		s.stage, s.said = stage, time.Now()
		if s.fancy {
			most := int64(total)
			if total == 0 {
				most = -1
			}
			s.bar = progressbar.NewOptions64(most, progressbar.OptionSetWriter(s.w), progressbar.OptionSetDescription(stage), progressbar.OptionShowCount(),
				progressbar.OptionSetPredictTime(total > 0), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		}
	}
	s.done, s.total, s.open = done, total, true
	switch {
	case s.bar != nil:
		s.bar.Set64(int64(done)) // fails only for more than the total
	case time.Since(s.said) >= stagesEvery:
		s.say()
	}
}

// say prints the progress of the stage.
func (s *stages) say() {
	s.said, s.open = time.Now(), false
	if s.total > 0 {
		fmt.Fprintf(s.w, "%s: %d of %d\n", s.stage, s.done, s.total)
	} else {
		fmt.Fprintf(s.w, "%s: %d records\n", s.stage, s.done)
	}
}

// close ends the stage.
func (s *stages) close() {
	switch {
	case s.bar != nil:
		s.bar.Finish()
		s.bar = nil
	case s.open:
		s.say()
	}
	s.open = false
}
