package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/crypto"
	"whisperpush/config"

	"whisperpush/cluster"
	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
)

const (
	// movingDir is where a move builds what it puts into the data directory once everything is checked.
	movingDir = ".moving"
	// movingMark is the mark of the move there. movedMark exists once everything was checked.
	movingMark = "move.json"
	movedMark  = "whole"
)

// ErrMoveHalf means that a move into a data directory is unfinished.
var ErrMoveHalf = errors.New("a move into this data directory is not finished; run wnode move again, or remove its subdirectory " + movingDir)

// unfinished reports whether a move into the data directory of the settings is unfinished.
func unfinished(cfg config.Config) bool {
	_, err := os.Lstat(filepath.Join(cfg.Node.DataDir, movingDir))
	return err == nil
}

// MoveToDirectory moves archive and registrations from the database of the settings to the data directory, which must
// have neither. The database stays as it is. After an interruption, the next call goes on from there. No node may run.
func MoveToDirectory(ctx context.Context, cfg config.Config, logger *slog.Logger, progress MoveProgress) (r MoveReport, err error) {
	m := &mover{cfg: cfg, progress: progress}
	m.report.To = cfg.Node.DataDir
	unlock, err := lockMoved(cfg)
	if err != nil {
		return r, err
	}
	defer unlock()
	o, err := storeOptions(cfg, logger)
	if err != nil {
		return r, err
	}
	db, err := postgres.OpenAsIs(ctx, cfg.Node.Store, o)
	if err != nil {
		return r, fmt.Errorf("Node.Store (--store): %w", err)
	}
	defer db.Close()
	m.report.From = db.String()
	outer := ctx
	ctx, end, err := alone(ctx, db)
	if err != nil {
		return r, err
	}
	defer end()
	err = m.toDirectory(ctx, db)
	if err != nil && outer.Err() == nil {
		err = endedBy(ctx, err)
	} else if err != nil {
		err = endedBy(outer, err)
	}
	return m.report, err
}

func (m *mover) toDirectory(ctx context.Context, db *postgres.DB) error {
	if text, err := db.MoveMark(ctx); err != nil || text != nil {
		if err == nil {
			err = fmt.Errorf("%s: %w", db, postgres.ErrMoving)
		}
		return err
	}
	archived, registered, err := db.Contents(ctx)
	switch {
	case err != nil:
		return err
	case !archived && !registered:
		return fmt.Errorf("%w: the database %s has neither an archive nor registrations", ErrSourceEmpty, db)
	}
	source, err := db.Read(ctx)
	if err != nil {
		return err
	}
	m.source = source
	var shards []durable.Store
	if registered {
		if err := m.readDiskKey(); err != nil {
			return err
		}
		for shard := range postgres.ShardCount {
			shards = append(shards, db.ReadShard(shard))
			if err := pushserver.CheckTransfer(shards[shard], m.diskKey); err != nil && !errors.Is(err, pushserver.ErrNoFormat) {
				return m.pushError(err)
			}
		}
	}
	if registered {
		if err := m.haveSharedKeys(ctx, db); err != nil {
			return err
		}
	}
	next := filepath.Join(m.cfg.Node.DataDir, movingDir)
	text, err := os.ReadFile(filepath.Join(next, movingMark))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dataDirError(m.cfg.Node.DataDir, err)
	}
	if err := m.settle(text, "remove its subdirectory "+movingDir); err != nil {
		return err
	}
	_, whole := os.Stat(filepath.Join(next, movedMark))
	if whole != nil {
		for _, dir := range []string{ArchiveDir(m.cfg), pushDir(m.cfg)} {
			if holds(dir) {
				return fmt.Errorf("there is something in %s already; move what is there away, or name another data directory with a copy of the keys", dir)
			}
		}
	}
	if !m.again {
		if err := errors.Join(os.RemoveAll(next), os.MkdirAll(next, 0o700), durable.ReplaceFile(filepath.Join(next, movingMark), m.mark.encode()), durable.SyncDir(m.cfg.Node.DataDir)); err != nil {
			return dataDirError(m.cfg.Node.DataDir, err)
		}
	}
	places := map[string]string{filepath.Join(next, "archive"): ArchiveDir(m.cfg), filepath.Join(next, "push"): pushDir(m.cfg)}
	if whole == nil { // it was interrupted while it placed what was checked; that is checked again in its place
		if err := m.place(next, places); err != nil {
			return err
		}
		return m.checkPlaced(ctx, shards, next)
	}
	if err := m.build(ctx, filepath.Join(next, "archive")); err != nil {
		return startError(m.cfg.Node.DataDir, err)
	}
	if registered {
		if err := m.unite(ctx, shards, filepath.Join(next, "push")); err != nil {
			return m.pushError(startError(m.cfg.Node.DataDir, err))
		}
	}
	if err := errors.Join(durable.ReplaceFile(filepath.Join(next, movedMark), nil), durable.SyncDir(next)); err != nil {
		return dataDirError(m.cfg.Node.DataDir, err)
	}
	if err := m.place(next, places); err != nil {
		return err
	}
	return m.done(next)
}

// build writes the log to a directory, and compares it with the original.
func (m *mover) build(ctx context.Context, dir string) error {
	origin := m.origin()
	if !m.again {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	to, err := archive.Rebuild(dir, archive.Options{Retention: retention(m.cfg)}, origin)
	if err != nil {
		return err
	}
	if err := m.copyLog(ctx, to); err != nil {
		return err
	}
	return m.checkBuilt(ctx, dir)
}

// checkBuilt compares the log in a directory with the original.
func (m *mover) checkBuilt(ctx context.Context, dir string) error {
	copied, err := archive.Read(dir)
	if err != nil {
		return err
	}
	return errors.Join(m.checkLog(ctx, copied), copied.Close())
}

// unite writes the registrations of all shards to a directory, and compares them. It first removes what an earlier
// attempt left there.
func (m *mover) unite(ctx context.Context, shards []durable.Store, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	to, err := pushserver.OpenEmpty(dir)
	if err != nil {
		return err
	}
	var b durable.Batch
	size := 0
	flush := func() error {
		err := to.Write(&b)
		b.Reset()
		size = 0
		return err
	}
	t := pushserver.NewTransfer(m.diskKey, m.mark.Begun)
	tell := m.counted(MoveRegistrations, 0)
	taken, err := t.Unite(ctx, shards, func(key, value []byte) error {
		tell()
		b.Put(key, value)
		if size += len(key) + len(value); size < moveBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		m.took(taken)
		err = t.Verify(ctx, 0, to, m.counted(CheckRegistered, taken.Records))
	}
	return errors.Join(err, to.Close())
}

// place moves what was checked to its place.
func (m *mover) place(next string, places map[string]string) error {
	for from, to := range places {
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !holds(to) {
			os.Remove(to) // an empty one
		}
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("move what was checked to %s: %w", to, err)
		}
	}
	return durable.SyncDir(m.cfg.Node.DataDir)
}

// checkPlaced checks and reports what is already in its place.
func (m *mover) checkPlaced(ctx context.Context, shards []durable.Store, next string) error {
	if err := m.checkBuilt(ctx, ArchiveDir(m.cfg)); err != nil {
		return err
	}
	if len(shards) > 0 {
		to, err := pushserver.OpenAsIs(pushDir(m.cfg))
		if err != nil {
			return err
		}
		t := pushserver.NewTransfer(m.diskKey, m.mark.Begun)
		taken, err := t.Unite(ctx, shards, func(_, _ []byte) error { return nil })
		if err == nil {
			m.took(taken)
			err = t.Verify(ctx, 0, to, m.counted(CheckRegistered, taken.Records))
		}
		if err := errors.Join(err, to.Close()); err != nil {
			return m.pushError(err)
		}
	}
	return m.done(next)
}

// done removes the rest of a move.
func (m *mover) done(next string) error {
	return errors.Join(os.RemoveAll(next), durable.SyncDir(m.cfg.Node.DataDir))
}

// haveSharedKeys says what to do if the nodes of the database have exchanged their push key, and the file here still has
// the former one.
func (m *mover) haveSharedKeys(ctx context.Context, db *postgres.DB) error {
	keys, ok, err := cluster.SharedKeys(ctx, db, m.diskKey)
	if err != nil {
		return m.pushError(err)
	}
	file := PushKeyFile(m.cfg)
	if secret, err := file.Read(); ok && (err != nil || !bytes.Equal(secret, crypto.FromECDSA(keys.Current))) {
		return fmt.Errorf("the push key in %s is not the one that the nodes of the database have exchanged it for; start a node with this data directory on the database for a moment, which takes it, or copy %s and %s from another node",
			file.Path(), filepath.Base(file.Path()), filepath.Base(FormerPushKeysPath(m.cfg)))
	}
	return nil
}
