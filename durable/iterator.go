package durable

import (
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// Scan implements [Store]. A reopen waits up to two seconds for the iterator to be
// released, then it fails.
func (d *DB) Scan(from, to []byte) Iterator { return d.scan(from, to, nil, iterator.Iterator.Next) }

// ScanOnce is Scan for reading much of the database once: it leaves the block
// cache as it is.
func (d *DB) ScanOnce(from, to []byte) Iterator {
	return d.scan(from, to, &opt.ReadOptions{DontFillCache: true}, iterator.Iterator.Next)
}

// Backward is Scan in descending order.
func (d *DB) Backward(from, to []byte) Iterator { return d.scan(from, to, nil, backward) }

// backward moves to the entry before; from the beginning, to the last one.
func backward(it iterator.Iterator) bool {
	if it.Valid() {
		return it.Prev()
	}
	return it.Last()
}

func (d *DB) scan(from, to []byte, o *opt.ReadOptions, move func(iterator.Iterator) bool) Iterator {
	in, err := d.current()
	if err != nil {
		return ended{err}
	}
	defer d.mu.RUnlock()
	var it iterator.Iterator
	if err := d.guard(in, func() error { it = in.db.NewIterator(&util.Range{Start: from, Limit: to}, o); return nil }); err != nil {
		return ended{err}
	}
	in.pins.add()
	return &guardedIterator{it: it, move: move, d: d, in: in}
}

// ended is a scan that failed before its first entry.
type ended struct{ err error }

func (ended) Next() bool       { return false }
func (ended) Key() []byte      { return nil }
func (ended) Value() []byte    { return nil }
func (e ended) Release() error { return e.err }

// guardedIterator is a goleveldb iterator whose panics are errors and which keeps
// its instance open until it is released.
type guardedIterator struct {
	it       iterator.Iterator
	move     func(iterator.Iterator) bool
	d        *DB
	in       *instance
	over     bool // it has come to its end
	released bool
	err      error // what ended it too early
}

// catch turns a panic of the engine into the iterator's error.
func (g *guardedIterator) catch(ok *bool) {
	if p := recover(); p != nil {
		g.err, *ok = g.d.panicked(g.in, p), false
	}
}

// Next implements [Iterator].
func (g *guardedIterator) Next() (ok bool) {
	if g.over || g.released || g.err != nil {
		return false
	}
	defer g.catch(&ok)
	ok = g.move(g.it)
	g.over = !ok
	return ok
}

// Key implements [Iterator].
func (g *guardedIterator) Key() []byte { return g.it.Key() }

// Value implements [Iterator].
func (g *guardedIterator) Value() []byte { return g.it.Value() }

// Release implements [Iterator].
func (g *guardedIterator) Release() error {
	if !g.released {
		g.released = true
		g.release()
		g.in.pins.done()
	}
	return g.err
}

func (g *guardedIterator) release() {
	var ok bool
	defer g.catch(&ok)
	if g.err == nil {
		g.err = g.d.classify(g.it.Error())
	}
	g.it.Release()
}
