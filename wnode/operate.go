package wnode

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

// keeper is what a node keeps, whether it runs or not: the commands are the same.
type keeper interface {
	ArchiveStats(ctx context.Context) (node.ArchiveReport, error)
	PruneArchive(ctx context.Context, before time.Time) (node.PruneReport, error)
	TakeEnvelopes(ctx context.Context, raws [][]byte) (node.TakeReport, error)
	Export(ctx context.Context, w io.Writer, progress func(done, total int64)) error
	Backup(ctx context.Context, w io.Writer, withKeys bool, progress func(done, total int64)) error
	Close() error
}

// openKeeper returns the running node of the settings, or its data directory if no node runs.
func openKeeper(c *cli.Context) (keeper, error) {
	path, err := socketOf(c)
	if err == nil {
		ctx, cancel := context.WithTimeout(c.Context, askTimeout)
		defer cancel()
		if client, err := gethrpc.DialIPC(ctx, path); err == nil {
			return running{client}, nil
		}
	}
	cfg, err := settingsOf(c)
	if err != nil {
		return nil, err
	}
	o, err := node.OpenOffline(cfg)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// running is a running node.
type running struct{ client *gethrpc.Client }

func (r running) Close() error {
	r.client.Close()
	return nil
}

func (r running) ArchiveStats(ctx context.Context) (report node.ArchiveReport, err error) {
	return report, r.client.CallContext(ctx, &report, "wnode_archiveStats")
}

func (r running) PruneArchive(ctx context.Context, before time.Time) (report node.PruneReport, err error) {
	return report, r.client.CallContext(ctx, &report, "wnode_pruneArchive", before)
}

func (r running) TakeEnvelopes(ctx context.Context, raws [][]byte) (report node.TakeReport, err error) {
	return report, r.client.CallContext(ctx, &report, "wnode_takeEnvelopes", raws)
}

func (r running) Export(ctx context.Context, w io.Writer, progress func(done, total int64)) error {
	return r.stream(ctx, w, progress, "wnode_openExport")
}

func (r running) Backup(ctx context.Context, w io.Writer, withKeys bool, progress func(done, total int64)) error {
	return r.stream(ctx, w, progress, "wnode_openBackup", withKeys)
}

// stream copies what the node writes.
func (r running) stream(ctx context.Context, w io.Writer, progress func(done, total int64), method string, args ...any) error {
	var begun node.StreamReport
	if err := r.client.CallContext(ctx, &begun, method, args...); err != nil {
		return err
	}
	for done := int64(0); ; {
		var chunk node.Chunk
		err := r.client.CallContext(ctx, &chunk, "wnode_readStream", begun.ID)
		if err == nil {
			_, err = w.Write(chunk.Data)
		}
		if err != nil {
			var closed bool
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			r.client.CallContext(late, &closed, "wnode_closeStream", begun.ID) // otherwise it ends on its own
			return err
		}
		done += int64(len(chunk.Data))
		progress(done, max(begun.Bytes, done))
		if chunk.End {
			return nil
		}
	}
}

// withKeeper runs do with what the node of a command keeps.
func withKeeper(c *cli.Context, do func(keeper) error) error {
	k, err := openKeeper(c)
	if err != nil {
		return err
	}
	return errors.Join(do(k), k.Close())
}

// bars shows progress if standard error is a terminal.
type bars struct {
	what  string
	w     io.Writer
	bar   *progressbar.ProgressBar
	total int64
}

func newBars(what string, stderr io.Writer) *bars {
	b := &bars{what: what}
	if f, ok := stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			b.w = f
		}
	}
	return b
}

// progress takes the bytes done and the total.
func (b *bars) progress(done, total int64) {
	if b.w == nil {
		return
	}
	if b.bar == nil || total < b.total {
		b.close()
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionSetDescription(b.what),
			progressbar.OptionShowBytes(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	} else if total > b.total {
		b.bar.ChangeMax64(total)
	}
	b.total = total
	b.bar.Set64(done) // fails only for more than the total
}

func (b *bars) close() {
	if b.bar != nil {
		b.bar.Finish()
		b.bar = nil
	}
}
