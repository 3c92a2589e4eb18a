package durable

import (
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// Store is an ordered map from keys to values whose acknowledged writes are on disk.
// It is safe for concurrent use. Only one process at a time can have it open; others
// get ErrLocked. A [DB] is one; package storetest checks others.
type Store interface {
	// Get returns a copy of key's value, which belongs to the caller, or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// Write writes b, all of it or nothing, and returns when it is on disk. An error
	// that wraps ErrWrite says that nothing of b counts as written; b may be tried
	// again. The caller keeps b.
	Write(b *Batch) error
	// Scan iterates over the keys with from ≤ key < to in ascending order, as they are
	// now. nil leaves that side open. The iterator must be released, and soon.
	Scan(from, to []byte) Iterator
	// Close closes the store. Later calls fail with ErrClosed, except Close, which may
	// be called twice.
	Close() error
}

// Iterator goes through the entries of a scan. It belongs to one goroutine.
type Iterator interface {
	// Next moves to the next entry, the first one at the beginning. False: there is
	// none, or it cannot be read; Release tells which.
	Next() bool
	// Key and Value return those of the entry. They must not be modified, and are
	// valid until Next or Release.
	Key() []byte
	Value() []byte
	// Release ends the scan and returns the error that ended it before its last
	// entry. It may be called twice.
	Release() error
}

// Prefix returns the bounds of a scan of the keys that begin with prefix.
func Prefix(prefix []byte) (from, to []byte) {
	r := util.BytesPrefix(prefix)
	return r.Start, r.Limit
}

// Batch is changes that are written together, in the order in which they were
// added. The zero value is empty. It is not safe for concurrent use.
type Batch struct{ b leveldb.Batch }

// Put adds a key and its value. It keeps copies.
func (b *Batch) Put(key, value []byte) { b.b.Put(key, value) }

// Delete adds the removal of a key, which need not exist. It keeps a copy.
func (b *Batch) Delete(key []byte) { b.b.Delete(key) }

// Len returns how many changes were added.
func (b *Batch) Len() int { return b.b.Len() }

// Reset empties the batch, and keeps its memory for later changes.
func (b *Batch) Reset() { b.b.Reset() }

// Replay passes the changes on one after the other. put and del must copy what they
// keep.
func (b *Batch) Replay(put func(key, value []byte), del func(key []byte)) {
	b.b.Replay(replay{put, del}) // fails only on batches that were read from a file
}

// replay is a leveldb.BatchReplay of functions.
type replay struct {
	put func(key, value []byte)
	del func(key []byte)
}

// Put implements leveldb.BatchReplay.
func (r replay) Put(key, value []byte) { r.put(key, value) }

// Delete implements leveldb.BatchReplay.
func (r replay) Delete(key []byte) { r.del(key) }
