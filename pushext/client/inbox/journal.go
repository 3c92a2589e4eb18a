package inbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"whisperpush/pushext/client"
)

// The file of an inbox:
//
//	"whisperpush inbox 1\n" ‖ generation 16 ‖ frame ‖ frame …
//	frame = length 4, big-endian ‖ CRC-32C of the records 4, big-endian ‖ records
//
// A frame holds the records of one change, as consecutive RLP lists, and is on the
// disk before the change counts. A crash leaves part of a frame at the end, which
// the next change overwrites. When most of the file is out of date, it is rewritten,
// under a new generation, beside the old one and renamed over it.
const (
	magic          = "whisperpush inbox 1\n"
	magicName      = "whisperpush inbox "
	generationSize = 16
	headerSize     = len(magic) + generationSize
	frameHead      = 8

	// maxFrame bounds the records of one frame, in bytes.
	maxFrame = 1 << 20
	// fullFrame is the size from which further records go into another frame.
	fullFrame = maxFrame / 2
	// minGarbage is how many bytes the file grows beyond twice its live data before
	// it is rewritten.
	minGarbage = 64 << 10
)

var (
	// ErrForeign says that a file does not belong to an inbox.
	ErrForeign = errors.New("inbox: not the file of an inbox")
	// ErrLater says that a file was written by a later version of this package.
	ErrLater = errors.New("inbox: the file was written by a later version")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// storage is the file of a journal, which several processes may use.
type storage interface {
	// Lock keeps other processes out until unlock, for milliseconds.
	Lock(ctx context.Context) (unlock func(), err error)
	// Read returns up to most bytes from an offset on; none beyond the end, or if
	// there is no file.
	Read(from int64, most int) ([]byte, error)
	// Append writes b at an offset, which is the end of the file or of its last
	// whole frame. It returns when b is on the disk and the file ends after it. On
	// error any part of b may be there.
	Append(at int64, b []byte) error
	// Replace replaces the file with another one, or leaves it as it is.
	Replace(b []byte) error
	// Keep puts a copy of a damaged file aside.
	Keep(b []byte) error
}

// journal reads and writes frames. Its methods are called with the storage locked.
type journal struct {
	storage
	generation [generationSize]byte
	end        int64 // after the last frame that was read or written
	lost       int64 // bytes between frames that could not be read
}

// follow hands each every frame that was added since the last time. It calls fresh
// first if what was read so far no longer counts.
func (j *journal) follow(fresh func(), each func(records []byte) error) error {
	head, err := j.Read(0, headerSize)
	if err != nil {
		return fmt.Errorf("inbox: reading the file: %w", err)
	}
	switch {
	case len(head) < headerSize && bytes.HasPrefix([]byte(magic), head[:min(len(head), len(magic))]):
		// The file was never begun, or that was interrupted: it holds nothing yet.
		fresh()
		j.lost = 0
		return j.begin(nil)
	case bytes.HasPrefix(head, []byte(magicName)) && !bytes.HasPrefix(head, []byte(magic)):
		return fmt.Errorf("%w: it begins with %.24q", ErrLater, head)
	case !bytes.HasPrefix(head, []byte(magic)):
		return fmt.Errorf("%w: it begins with %.24q; give another name, or move it away", ErrForeign, head)
	}
	generation := [generationSize]byte(head[len(magic):])
	tail := []byte(nil)
	if generation == j.generation {
		// The last byte read before is read again: if it is missing, an older copy
		// of the file was put back.
		last, err := j.Read(j.end-1, maxRead)
		if err != nil {
			return fmt.Errorf("inbox: reading the file: %w", err)
		}
		if len(last) > 0 {
			tail = last[1:]
		} else {
			j.generation = [generationSize]byte{}
		}
	}
	if generation != j.generation {
		fresh()
		j.generation, j.end, j.lost = generation, int64(headerSize), 0
		if tail, err = j.Read(j.end, maxRead); err != nil {
			return fmt.Errorf("inbox: reading the file: %w", err)
		}
	}
	return j.frames(tail, each)
}

// maxRead is larger than any file within the limits.
const maxRead = 1 << 30

// frames hands out the frames after end. It skips damage between frames: every
// record stands for itself, and what is missing comes again from the mailserver or
// is shown once more.
func (j *journal) frames(tail []byte, each func(records []byte) error) error {
	from := j.end
	for at := 0; at < len(tail); {
		size, ok := frameAt(tail[at:])
		if !ok {
			next := at + 1
			for next < len(tail) {
				if _, ok := frameAt(tail[next:]); ok {
					break
				}
				next++
			}
			if next == len(tail) {
				return nil // an unfinished end, left by a crash
			}
			j.lost += int64(next - at)
			at = next
			continue
		}
		if err := each(tail[at+frameHead : at+size]); err != nil {
			return fmt.Errorf("inbox: frame at byte %d of the file: %w", from+int64(at), err)
		}
		at += size
		j.end = from + int64(at)
	}
	return nil
}

// frameAt returns the size of the frame that b begins with, if that is complete.
func frameAt(b []byte) (size int, ok bool) {
	if len(b) < frameHead {
		return 0, false
	}
	length := int(binary.BigEndian.Uint32(b))
	if length == 0 || length > maxFrame || length > len(b)-frameHead {
		return 0, false
	}
	size = frameHead + length
	return size, crc32.Checksum(b[frameHead:size], castagnoli) == binary.BigEndian.Uint32(b[4:])
}

// framed puts records into frames.
func framed(records [][]byte) []byte {
	var out, frame []byte
	flush := func() {
		if len(frame) > 0 {
			out = binary.BigEndian.AppendUint32(out, uint32(len(frame)))
			out = binary.BigEndian.AppendUint32(out, crc32.Checksum(frame, castagnoli))
			out = append(out, frame...)
			frame = frame[:0]
		}
	}
	for _, r := range records {
		if len(frame)+len(r) > fullFrame {
			flush()
		}
		frame = append(frame, r...)
	}
	flush()
	return out
}

// write appends records.
func (j *journal) write(records [][]byte) error {
	b := framed(records)
	if err := j.Append(j.end, b); err != nil {
		return fmt.Errorf("inbox: writing the file: %w", err)
	}
	j.end += int64(len(b))
	return nil
}

// begin rewrites the file.
func (j *journal) begin(records [][]byte) error {
	var generation [generationSize]byte
	rand.Read(generation[:])
	b := append([]byte(magic), generation[:]...)
	b = append(b, framed(records)...)
	if err := j.Replace(b); err != nil {
		return fmt.Errorf("inbox: writing the file anew: %w", err)
	}
	j.generation, j.end, j.lost = generation, int64(len(b)), 0
	return nil
}

// file is a storage on the disk.
type file string

func (f file) whole() client.FileStore { return client.FileStore(f) }

func (f file) Lock(ctx context.Context) (func(), error) {
	unlock, err := f.whole().Lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("inbox: locking %s: %w", string(f), err)
	}
	return unlock, nil
}

func (f file) Read(from int64, most int) ([]byte, error) {
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.NewSectionReader(file, from, int64(most)))
}

func (f file) Append(at int64, b []byte) error {
	file, err := os.OpenFile(string(f), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err = file.Truncate(at); err == nil {
		_, err = file.WriteAt(b, at)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		// A partial write is not a frame; removing it leaves more room on a full
		// disk.
		err = errors.Join(err, file.Truncate(at))
	}
	return errors.Join(err, file.Close())
}

func (f file) Replace(b []byte) error { return f.whole().Save(context.Background(), b) }

func (f file) Keep(b []byte) error { return (f + ".damaged").Replace(b) }
