package wnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext/pushserver"
	"whisperpush/wnode/node"
)

func recoverCommand() *cli.Command {
	return &cli.Command{
		Name:      "recover",
		Usage:     "look through the archive and the registrations, and salvage what is damaged",
		UsageText: "wnode recover --datadir DIRECTORY",
		Description: "The node must not run. Everything in its databases is read. What is sound is left alone; of what is damaged,\n" +
			"or was set aside when the node met it, everything that can be read is put back, and the damaged files are\n" +
			"kept beside it. It may be interrupted and run again; when nothing is damaged it changes nothing.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "datadir", Usage: "`DIRECTORY` of the node", Value: config.Defaults().Node.DataDir, DefaultText: config.Defaults().Node.DataDir},
			&cli.StringFlag{Name: "diskkey", Usage: "`FILE` with the key of the registrations (default: push.disk.key in the data directory)"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			r := recovery{dir: c.String("datadir"), diskKey: c.String("diskkey"), out: c.App.Writer, err: c.App.ErrWriter}
			return r.run(c.Context)
		},
	}
}

// recovery is one run of the command.
type recovery struct {
	dir, diskKey string
	out, err     io.Writer
}

func (r *recovery) run(ctx context.Context) error {
	if _, err := os.Stat(r.dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no data directory %s; name the node's with --datadir", r.dir)
	}
	if err := node.CheckDataDir(r.dir); err != nil {
		return err
	}
	unlock, err := node.LockDir(r.dir)
	if err != nil {
		return err
	}
	defer unlock()
	moves, pushErr := r.push(ctx)
	archiveErr := r.archive(ctx, moves)
	if moves != nil {
		archiveErr = errors.Join(archiveErr, moves.Close())
	}
	return errors.Join(archiveErr, pushErr)
}

// say prints one sentence.
func (r *recovery) say(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// archive recovers the archive, and tells moves, if there are any, what was archived again.
func (r *recovery) archive(ctx context.Context, moves *pushserver.Moves) error {
	dir := filepath.Join(r.dir, "archive")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		r.say("There is no archive.")
		return nil
	}
	bars := newBars("archive", r.err)
	// Only the node applies retention: nothing is dropped here.
	var moved func(old []uint64, first uint64) error
	if moves != nil {
		moved = moves.Add
	}
	recovered, err := archive.Recover(ctx, dir, archive.Options{Retention: -1}, moved, bars.progress)
	bars.close()
	for _, p := range recovered {
		r.say("The archive's partition %s was damaged: %d envelopes were read and are archived again.", p.Partition, p.Envelopes)
		r.losses(p.Losses)
		if p.Unread > 0 {
			r.say("  %d blocks of envelopes could not be read.", p.Unread)
		}
		r.say("  The damaged files are kept in %s; remove them when you no longer want them.", filepath.Join(dir, p.Kept))
	}
	if err != nil {
		return fmt.Errorf("the archive could not be recovered: %w", err)
	}
	if len(recovered) == 0 {
		r.say("The archive is sound.")
	}
	return nil
}

// push recovers the registrations, and opens them for the news of the archive's recovery; nil if there are none.
func (r *recovery) push(ctx context.Context) (*pushserver.Moves, error) {
	dir := filepath.Join(r.dir, "push")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		r.say("There are no registrations.")
		return nil, nil
	}
	path := r.diskKey
	if path == "" {
		path = filepath.Join(r.dir, "push.disk.key")
	}
	key, err := node.ReadSecret(path, "--diskkey")
	if err != nil {
		return nil, err
	}
	bars := newBars("registrations", r.err)
	salvaged, sound, err := pushserver.Recover(ctx, dir, key, bars.progress)
	bars.close()
	if err != nil {
		return nil, fmt.Errorf("the registrations could not be recovered: %w", err)
	}
	if sound {
		r.say("The registrations are sound.")
		return pushserver.OpenMoves(dir, key)
	}
	r.say("The registrations were damaged: %d records were read and are in place again.", salvaged.Keys)
	r.losses(salvaged.Losses)
	r.say("  Devices whose registration is lost register again when they next ask; some may be woken twice.")
	if salvaged.Aside != "" {
		r.say("  The damaged files are kept in %s; remove them when you no longer want them.", salvaged.Aside)
	}
	return pushserver.OpenMoves(dir, key)
}

// mostLosses bounds the report.
const mostLosses = 10

func (r *recovery) losses(list []string) {
	for _, loss := range list[:min(len(list), mostLosses)] {
		r.say("  Lost: %s", loss)
	}
	if more := len(list) - mostLosses; more > 0 {
		r.say("  And %d more.", more)
	}
}
