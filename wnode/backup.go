package wnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/wnode/backup"
	"whisperpush/wnode/node"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name: "backup", Usage: "copy keys, archive and registrations while the node runs, to a directory, a file or standard output", ArgsUsage: "TARGET",
		UsageText: "wnode backup [flags] TARGET",
		Description: "TARGET is a directory that is not there yet, a file whose name ends with .tar, or - for standard output. Nobody waits\n" +
			"for it: the node goes on, and the copy is as if it had stopped at one moment. It is read back and checked before it\n" +
			"has its name; what an interrupted backup left is replaced. It holds the keys, so it is as secret as the data\n" +
			"directory; --without-keys leaves them out. With --store, PostgreSQL's own pg_dump copies archive and registrations.\n\n" +
			"Example:\n   wnode backup --datadir /var/lib/whisperpush /var/backups/whisperpush-monday",
		Flags:  append(settingFlags(), jsonFlag(), &cli.BoolFlag{Name: "without-keys", Usage: "leave node key, push key and disk key out", DisableDefaultText: true}),
		Action: backupAction,
	}
}

func backupAction(c *cli.Context) error {
	target, err := oneArgument(c, "TARGET")
	if err != nil {
		return err
	}
	if _, err := os.Lstat(target); target != "-" && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is something at %s already; name what is not there yet, or move it away", target)
	}
	var m backup.Manifest
	err = withKeeper(c, func(k keeper) error {
		bar := newBars("backup", c.App.ErrWriter)
		defer bar.close()
		from, to := io.Pipe()
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(c.Context)
		defer cancel()
		go func() {
			err := k.Backup(ctx, to, !c.Bool("without-keys"), bar.progress)
			to.CloseWithError(err)
			ended <- err
		}()
		var err error
		switch {
		case target == "-":
			m, err = backup.ReadTar(io.TeeReader(from, c.App.Writer), backup.Target{})
			if err == nil {
				_, err = io.Copy(c.App.Writer, from) // what a tar has after its end
			}
		case strings.HasSuffix(target, ".tar"):
			m, err = backup.SaveFile(from, target)
		default:
			m, err = backup.SaveDir(from, target)
		}
		from.CloseWithError(err)
		if cause := <-ended; cause != nil && !errors.Is(cause, io.ErrClosedPipe) {
			return cause
		}
		return err
	})
	if err != nil || target == "-" {
		return err
	}
	return printManifest(c, "saved", m)
}

// copied is what the commands print of a backup as JSON.
type copied struct {
	Envelopes uint64 `json:"envelopes"`
	Records   uint64 `json:"records"`
	Created   string `json:"created"`
}

func printManifest(c *cli.Context, what string, m backup.Manifest) error {
	created := m.Created.Format("2006-01-02T15:04:05Z07:00")
	if c.Bool("json") {
		return printJSON(c.App.Writer, copied{m.Envelopes, m.Records, created})
	}
	_, err := fmt.Fprintf(c.App.Writer, "%s: %s and %s of registrations, as of %s\n", what, plural(int(m.Envelopes), "envelope"), plural(int(m.Records), "record"), created)
	return err
}

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "put a backup back into an empty data directory, after everything in it was checked", ArgsUsage: "SOURCE",
		UsageText: "wnode restore [flags] SOURCE",
		Description: "SOURCE is what wnode backup wrote: a directory, a .tar file, or - for standard input. No node may run, and in the data\n" +
			"directory there may be no archive, registrations or keys. Every file, envelope and seal is checked before anything has\n" +
			"its place; a restore that was interrupted may be run again. With --check it is checked alone.\n" +
			"Devices that registered after the backup find out with their next request and register again; some may be woken once\n" +
			"more for what they have.\n\n" +
			"Example:\n   wnode restore --datadir /var/lib/whisperpush /var/backups/whisperpush-monday",
		Flags: append(settingFlags(), jsonFlag(),
			&cli.BoolFlag{Name: "check", Usage: "check the backup and change nothing", DisableDefaultText: true},
			&cli.StringFlag{Name: "diskkey", Usage: "`FILE` with the key of the registrations, of a backup without keys"}),
		Action: restoreAction,
	}
}

func restoreAction(c *cli.Context) error {
	source, err := oneArgument(c, "SOURCE")
	if err != nil {
		return err
	}
	cfg, err := settingsOf(c)
	if err != nil {
		return err
	}
	read := func(t backup.Target) (backup.Manifest, error) { return readBackup(c, source, t) }
	if c.Bool("check") {
		m, err := read(backup.Target{})
		if err != nil {
			return err
		}
		return printManifest(c, "sound", m)
	}
	var diskKey []byte
	if path := c.String("diskkey"); path != "" {
		if diskKey, err = node.ReadSecret(path, "--diskkey"); err != nil {
			return err
		}
	}
	m, err := node.Restore(cfg, diskKey, read)
	if err != nil {
		return err
	}
	return printManifest(c, "restored", m)
}

// readBackup reads a backup from source.
func readBackup(c *cli.Context, source string, t backup.Target) (m backup.Manifest, err error) {
	bar := newBars("restore", c.App.ErrWriter)
	defer bar.close()
	t.Progress = func(done int64) { bar.progress(done, done) }
	if source == "-" {
		return backup.ReadTar(c.App.Reader, t)
	}
	info, err := os.Stat(source)
	if err != nil {
		return m, fmt.Errorf("%s cannot be read: %w", source, errors.Unwrap(err))
	}
	if info.IsDir() {
		return backup.ReadDir(source, t)
	}
	f, err := os.Open(source)
	if err != nil {
		return m, fmt.Errorf("%s cannot be read: %w", source, errors.Unwrap(err))
	}
	defer f.Close()
	return backup.ReadTar(f, t)
}
