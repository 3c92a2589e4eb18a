// Package foreign reads the archives of other mailservers, and writes one that they can read: the LevelDB
// databases of go-ethereum (v1.9.20 and before) and of status-go, with both forms of its keys.
//
//	sent time(4, big-endian) hash(32)            value: the envelope's RLP
//	sent time(4, big-endian) hash(32) topic(4)   the same
//
// status-go's table in PostgreSQL has the same keys; package postgres reads it.
package foreign

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/whisper"
)

const (
	shortKey = 4 + common.HashLength
	longKey  = shortKey + whisper.TopicSize
)

// ErrNotArchive means that a directory has no database, or the database of something else.
var ErrNotArchive = errors.New("no archive of a mailserver")

// Check returns an error unless an envelope fits its key: its hash, its sent time, and its topic if the key has one.
// The error says what differs.
func Check(key, raw []byte) error {
	if len(key) != shortKey && len(key) != longKey {
		return fmt.Errorf("a key of %d bytes, not %d or %d", len(key), shortKey, longKey)
	}
	env, err := whisper.DecodeEnvelope(raw)
	if err != nil {
		return err
	}
	hash := env.Hash()
	switch {
	case !bytes.Equal(hash[:], key[4:shortKey]):
		return errors.New("its hash is not that of its key")
	case env.Sent() != binary.BigEndian.Uint32(key):
		return errors.New("it was not sent at the time of its key")
	case len(key) == longKey && !bytes.Equal(env.Topic[:], key[shortKey:]):
		return errors.New("its topic is not that of its key")
	}
	return nil
}

// ReadLevelDB calls each with every entry of the database in dir whose key is above after, which may be nil, in order. The
// slices are valid during the call only. The mailserver must not be running. Nothing is written to the database.
func ReadLevelDB(ctx context.Context, dir string, after []byte, each func(key, raw []byte) error) (err error) {
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err != nil {
		return fmt.Errorf("%w: there is no LevelDB database in %s", ErrNotArchive, dir)
	}
	db, err := durable.Open(dir, durable.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var from []byte
	if len(after) > 0 {
		from = append(bytes.Clone(after), 0)
	}
	it := db.ScanOnce(from, nil)
	defer it.Release()
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n := len(it.Key()); n != shortKey && n != longKey {
			return fmt.Errorf("%w: the database in %s has a key of %d bytes", ErrNotArchive, dir, n)
		}
		if err := each(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return it.Release()
}

// LevelDB is an archive that go-ethereum's mailserver can open. It must be closed.
type LevelDB struct {
	dir   string
	db    *durable.DB
	batch durable.Batch
	size  int
}

// writeBatch is how many bytes are written at a time.
const writeBatch = 1 << 20

// CreateLevelDB begins an archive in dir, which must be empty or missing.
func CreateLevelDB(dir string) (*LevelDB, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("there is something in %s already; name a directory that is empty or not there", dir)
	}
	db, err := durable.Open(dir, durable.Options{})
	if err != nil {
		return nil, err
	}
	return &LevelDB{dir: dir, db: db}, nil
}

// Put adds an envelope, under go-ethereum's form of key.
func (l *LevelDB) Put(env *whisper.Envelope) error {
	key := binary.BigEndian.AppendUint32(make([]byte, 0, shortKey), env.Sent())
	hash := env.Hash()
	key = append(key, hash[:]...)
	l.batch.Put(key, env.Raw())
	if l.size += len(key) + len(env.Raw()); l.size < writeBatch {
		return nil
	}
	return l.flush(l.db.WriteUnsynced)
}

func (l *LevelDB) flush(write func(*durable.Batch) error) error {
	err := write(&l.batch)
	l.batch.Reset()
	l.size = 0
	return err
}

// Close writes the rest, and leaves a database without a journal that another version would have to read.
func (l *LevelDB) Close() error {
	err := errors.Join(l.flush(l.db.Write), l.db.Close())
	if err != nil {
		return err
	}
	again, err := durable.Open(l.dir, durable.Options{})
	if err != nil {
		return err
	}
	return again.Close()
}
