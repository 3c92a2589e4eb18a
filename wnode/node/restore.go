package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"whisperpush/config"
	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext/pushserver"
	"whisperpush/wnode/backup"
)

const (
	// restoringDir is where a restore builds what it moves into the data directory once everything is checked.
	restoringDir = ".restoring"
	// restoredMark is a file there that says that everything is checked.
	restoredMark = "whole"
)

// ErrRestoring means that a restore was interrupted while it moved what it had checked into place.
var ErrRestoring = errors.New("a restore of this data directory was interrupted; run wnode restore again")

// Restore puts a backup, which read reads and checks, into the data directory of the settings, which must have none of
// what the backup holds. It moves nothing into place before read has returned nil; keys are moved last. An interrupted
// Restore may be run again. diskKey is for a backup without keys and may be nil.
func Restore(cfg config.Config, diskKey []byte, read func(backup.Target) (backup.Manifest, error)) (m backup.Manifest, err error) {
	dir := cfg.Node.DataDir
	if WithStore(cfg) {
		return m, errShared
	}
	unlock, err := LockDir(dir)
	if err != nil {
		return m, err
	}
	defer unlock()
	next := filepath.Join(dir, restoringDir)
	_, marked := os.Stat(filepath.Join(next, restoredMark))
	if marked != nil {
		for _, name := range ownEntries[1:] {
			if name == "nodes" {
				continue // peers
			}
			if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
				return m, fmt.Errorf("there is a %s in the data directory %s already; move what is there away, or restore to another with --datadir", name, dir)
			}
		}
		if err := os.RemoveAll(next); err != nil {
			return m, err
		}
	}
	if marked == nil {
		if m, err = read(backup.Target{}); err != nil {
			return m, err
		}
	} else if m, err = rebuild(cfg, next, diskKey, read); err != nil {
		return m, errors.Join(err, os.RemoveAll(next))
	}
	for _, name := range []string{"archive", "push", diskKeyName, formerKeysName, pushKeyName, nodeKeyName} {
		err := os.Rename(filepath.Join(next, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return m, fmt.Errorf("move what was restored: %w", err)
		}
	}
	return m, errors.Join(durable.SyncDir(dir), os.RemoveAll(next), durable.SyncDir(dir))
}

// rebuild builds the contents of a backup in a directory, and marks it when everything was checked.
func rebuild(cfg config.Config, dir string, diskKey []byte, read func(backup.Target) (backup.Manifest, error)) (m backup.Manifest, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, dataDirError(cfg.Node.DataDir, err)
	}
	var push *pushserver.Restoration
	var log *archive.Builder
	defer func() {
		if push != nil {
			push.Abort()
		}
		if log != nil {
			log.Abort()
		}
	}()
	target := backup.Target{
		Key: func(name string, content []byte) error {
			if name == diskKeyName && diskKey == nil {
				secret, err := parseSecret(content)
				if err != nil {
					return fmt.Errorf("the disk key in the backup %w", err)
				}
				diskKey = secret
			}
			return durable.ReplaceFile(filepath.Join(dir, name), bytes.Clone(content))
		},
		Push: func(key, value []byte) (err error) {
			if diskKey == nil {
				return errors.New("the backup is without keys, and the registrations in it are sealed; name the file of the disk key with --diskkey")
			}
			if push == nil {
				if push, err = pushserver.Restore(filepath.Join(dir, "push"), diskKey); err != nil {
					return err
				}
			}
			return push.Put(key, value)
		},
		Record: func(r archive.Record) (err error) {
			if log == nil {
				if log, err = archive.Build(filepath.Join(dir, "archive"), archive.Options{Retention: retention(cfg)}); err != nil {
					return err
				}
			}
			return log.Add(r)
		},
	}
	if m, err = read(target); err != nil {
		return m, err
	}
	if log != nil {
		if err := log.Close(); err != nil {
			return m, fmt.Errorf("write the archive: %w", err)
		}
		log = nil
	}
	if push != nil {
		done := push
		push = nil
		if err := done.Close(time.Now()); err != nil {
			return m, fmt.Errorf("write the registrations: %w", err)
		}
	}
	return m, errors.Join(durable.SyncDir(dir), durable.ReplaceFile(filepath.Join(dir, restoredMark), nil))
}
