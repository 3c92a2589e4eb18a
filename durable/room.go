package durable

import "github.com/syndtr/goleveldb/leveldb/storage"

const (
	// roomShare is the part of the write buffer that is laid at a time as zeros ahead of
	// the journal's end, but at most maxRoom. A journal grows to about the size of the
	// write buffer.
	roomShare = 16
	maxRoom   = 256 << 10
	// smallSync is the most written between two syncs that counts as little. Room is laid
	// only then: for larger writes the zeros would cost more than they save.
	smallSync = 16 << 10
)

// rewriter is a file that can be written in the middle. The writer of a journal
// may be one: see roomy.
type rewriter interface {
	storage.Writer
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	// SyncData makes what was written durable, if the file already had its size and its
	// blocks.
	SyncData() error
}

// roomy is a journal with room: zeros after its end that are already on the disk. Making
// a file longer costs the disk a second write, of the file system's own data, after the
// first: a sync takes half as long again, and twice the work. Writing into the room
// replaces zeros, and costs one write.
//
// Readers stop at the zeros, which scanJournal can tell from what a power cut leaves. The
// room is cut off when the journal is closed, and before the next one is begun.
type roomy struct {
	rewriter
	ahead int // zeros laid at a time
	zeros []byte

	end  int64 // of what was written
	room int64 // up to here the file is on the disk, including its zeros
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
		if n, err := f.WriteAt(f.zeros, f.end); err == nil { // otherwise it goes on without room
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
