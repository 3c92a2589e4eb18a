package durable

import (
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// guardedIterator is a goleveldb iterator whose panics are errors and which keeps
// its instance open until it is released.
type guardedIterator struct {
	it       iterator.Iterator
	d        *DB
	in       *instance
	err      error // of a panic
	released bool
}

// catch turns a panic of the movement that deferred it into the iterator's end.
func (g *guardedIterator) catch(ok *bool) {
	if p := recover(); p != nil {
		g.err, *ok = g.d.panicked(g.in, p), false
	}
}

func (g *guardedIterator) First() (ok bool) {
	defer g.catch(&ok)
	return g.err == nil && g.it.First()
}

func (g *guardedIterator) Last() (ok bool) {
	defer g.catch(&ok)
	return g.err == nil && g.it.Last()
}

func (g *guardedIterator) Next() (ok bool) {
	defer g.catch(&ok)
	return g.err == nil && g.it.Next()
}

func (g *guardedIterator) Prev() (ok bool) {
	defer g.catch(&ok)
	return g.err == nil && g.it.Prev()
}

func (g *guardedIterator) Seek(key []byte) (ok bool) {
	defer g.catch(&ok)
	return g.err == nil && g.it.Seek(key)
}

func (g *guardedIterator) Valid() bool   { return g.err == nil && g.it.Valid() }
func (g *guardedIterator) Key() []byte   { return g.it.Key() }
func (g *guardedIterator) Value() []byte { return g.it.Value() }

func (g *guardedIterator) Error() error {
	if g.err != nil {
		return g.err
	}
	return g.d.classify(g.it.Error())
}

func (g *guardedIterator) SetReleaser(r util.Releaser) { g.it.SetReleaser(r) }

func (g *guardedIterator) Release() {
	if g.released {
		return
	}
	g.released = true
	defer g.in.pins.done()
	var ok bool
	defer g.catch(&ok)
	g.it.Release()
}

// Snapshot is the database at one moment. It is safe for concurrent use and must
// be released.
type Snapshot struct {
	s  *leveldb.Snapshot
	d  *DB
	in *instance
}

// Get returns a copy of key's value, or leveldb.ErrNotFound.
func (s *Snapshot) Get(key []byte) (value []byte, err error) {
	err = s.d.guard(s.in, func() error {
		value, err = s.s.Get(key, nil)
		return err
	})
	return value, s.d.classify(err)
}

// Has reports whether key exists.
func (s *Snapshot) Has(key []byte) (ok bool, err error) {
	err = s.d.guard(s.in, func() error {
		ok, err = s.s.Has(key, nil)
		return err
	})
	return ok, s.d.classify(err)
}

// NewIterator returns an iterator over r (nil = everything).
func (s *Snapshot) NewIterator(r *util.Range) iterator.Iterator {
	var it iterator.Iterator
	if err := s.d.guard(s.in, func() error { it = s.s.NewIterator(r, nil); return nil }); err != nil {
		return iterator.NewEmptyIterator(err)
	}
	s.in.pins.add()
	return &guardedIterator{it: it, d: s.d, in: s.in}
}

// Release frees the snapshot. It must be called exactly once.
func (s *Snapshot) Release() {
	s.d.guard(s.in, func() error { s.s.Release(); return nil })
	s.in.pins.done()
}
