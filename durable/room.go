package durable

import "github.com/syndtr/goleveldb/leveldb/storage"

const (
	// roomShare is the part of the write buffer, which is about what a journal grows to,
	// that is laid as zeros ahead of the journal's end at a time, but at most maxRoom.
	roomShare = 16
	maxRoom   = 256 << 10
	// smallSync is how much written between two syncs counts as little. Only then is room
	// laid: when much is written at a time, the zeros would cost more than they save.
	smallSync = 16 << 10
)

// rewriter is a file that can be written in the middle. The writer of a journal
// may be one: see roomy.
type rewriter interface {
	storage.Writer
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	// SyncData makes what was written durable, provided that the file had its
	// size and its blocks before.
	SyncData() error
}

// roomy is a journal with room: zeros behind its end that are on the disk already.
// To make a file longer costs the disk a second write, of what the file system
// keeps about it, one after the other: a sync takes half as long again, and twice the
// work. What is written into the room replaces zeros, and costs one.
//
// Readers stop at the zeros: scanJournal knows them from what a power cut leaves. They
// are cut off when the journal is closed, and before the next one is begun.
type roomy struct {
	rewriter
	ahead int // zeros laid at a time
	zeros []byte

	end  int64 // of what was written
	room int64 // up to here the file is on the disk, with its zeros
	news int64 // bytes since the latest sync
}

func (f *roomy) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.end)
	f.end += int64(n)
	f.news += int64(n)
	return n, err
}

func (f *roomy) Sync() error {
	news := f.news
	f.news = 0
	if f.end <= f.room {
		return f.SyncData()
	}
	room := f.end
	if news <= smallSync {
		if f.zeros == nil {
			f.zeros = make([]byte, f.ahead)
		}
		if n, err := f.WriteAt(f.zeros, f.end); err == nil { // else it goes on without
			room += int64(n)
		}
	}
	if err := f.rewriter.Sync(); err != nil {
		return err
	}
	f.room = room
	return nil
}

// trim cuts the room off, durably.
func (f *roomy) trim() error {
	if f.room <= f.end {
		return nil
	}
	f.room = f.end
	if err := f.Truncate(f.end); err != nil {
		return err
	}
	return f.rewriter.Sync()
}
