package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"whisperpush/config"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext/pushserver"
)

// Offline is what a node keeps, opened while no node runs.
type Offline struct {
	kept  kept
	close []func() error
}

// OpenOffline takes the data directory of the settings for itself, as a node does. The error is a sentence for the
// operator.
func OpenOffline(cfg config.Config) (o *Offline, err error) {
	if WithStore(cfg) {
		return nil, errShared
	}
	dir := cfg.Node.DataDir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no node answers and there is no data directory %s; name the node's with --datadir", dir)
	}
	if err := CheckDataDir(dir); err != nil {
		return nil, err
	}
	unlock, err := LockDir(dir)
	if err != nil {
		return nil, err
	}
	o = &Offline{kept: kept{settings: func() config.Config { return cfg }}, close: []func() error{func() error { unlock(); return nil }}}
	if entries, _ := os.ReadDir(ArchiveDir(cfg)); len(entries) > 0 {
		a, err := archive.Open(ArchiveDir(cfg), archive.Options{Retention: -1}) // only the node applies retention
		if err != nil {
			return nil, errors.Join(err, o.Close())
		}
		o.kept.archive = a
		o.close = append(o.close, a.Close)
	}
	if entries, _ := os.ReadDir(pushDir(cfg)); len(entries) > 0 {
		o.kept.push = func(each func(key, value []byte) error) error { return pushserver.SnapshotDir(pushDir(cfg), each) }
	}
	return o, nil
}

// Close gives the data directory up.
func (o *Offline) Close() (err error) {
	for i := len(o.close) - 1; i >= 0; i-- {
		err = errors.Join(err, o.close[i]())
	}
	o.close = nil
	return err
}

// ArchiveStats describes what the archive holds.
func (o *Offline) ArchiveStats(context.Context) (ArchiveReport, error) { return o.kept.stats() }

// PruneArchive drops whole partitions that were archived before a time and have expired.
func (o *Offline) PruneArchive(_ context.Context, before time.Time) (PruneReport, error) {
	return o.kept.prune(before)
}

// TakeEnvelopes archives envelopes that are not archived yet.
func (o *Offline) TakeEnvelopes(ctx context.Context, raws [][]byte) (TakeReport, error) {
	return o.kept.take(ctx, raws)
}

// Export writes everything that is archived.
func (o *Offline) Export(ctx context.Context, w io.Writer, _ func(done, total int64)) error {
	return o.kept.export(ctx, w)
}

// Backup writes a backup.
func (o *Offline) Backup(ctx context.Context, w io.Writer, withKeys bool, _ func(done, total int64)) error {
	return o.kept.backup(ctx, w, withKeys)
}
