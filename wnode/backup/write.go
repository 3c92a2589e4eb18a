package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/portable"
)

// Names of files.
const (
	manifestName = "manifest.json"
	keysDir      = "keys/"
	pushDir      = "push/"
	archiveDir   = "archive/"
	suffix       = ".records"
)

// fileBytes is roughly the length of a file. Each file is held in memory, because a tar has the length before the
// content.
const fileBytes = 8 << 20

// manifestVersion is the version of the format that the package comment describes.
const manifestVersion = 1

// Manifest says what a backup holds.
type Manifest struct {
	Version   int       `json:"version"`
	Program   string    `json:"program"` // that wrote it
	Created   time.Time `json:"created"`
	Envelopes uint64    `json:"envelopes"`
	First     uint64    `json:"first"`   // sequence of the archive; 0: there is no envelope
	Last      uint64    `json:"last"`    // sequence of the archive
	Records   uint64    `json:"records"` // of the push database
	Cursor    uint64    `json:"cursor"`  // sequence up to which push had matched
	Files     []File    `json:"files"`
}

// File is a file of a backup.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Archive is the part of an archive that a backup reads.
type Archive interface {
	First() uint64
	Last() uint64
	Follow(ctx context.Context, after uint64, fn func([]archive.Record) error) error
}

// Source is what a backup copies. Parts that are nil are left out.
type Source struct {
	Program string            // that makes the copy
	Keys    map[string][]byte // contents of key files by their names
	// Push calls each with every record of the push database as it is at one moment.
	Push    func(each func(key, value []byte) error) error
	Cursor  func(key, value []byte) (uint64, bool) // the cursor, if a record of Push is one
	Archive Archive
}

// Write writes a backup as a tar. progress, which may be nil, is called with the bytes written.
func Write(ctx context.Context, w io.Writer, s Source, progress func(done int64)) (Manifest, error) {
	if progress == nil {
		progress = func(int64) {}
	}
	b := &writer{tar: tar.NewWriter(w), progress: progress, m: Manifest{Version: manifestVersion, Program: s.Program, Created: time.Now().UTC().Truncate(time.Second)}}
	for _, name := range slices.Sorted(maps.Keys(s.Keys)) {
		if err := b.file(keysDir+name, s.Keys[name]); err != nil {
			return b.m, err
		}
	}
	if s.Push != nil {
		if err := b.push(ctx, s); err != nil {
			return b.m, err
		}
	}
	if s.Archive != nil {
		if err := b.archive(ctx, s.Archive); err != nil {
			return b.m, err
		}
	}
	text, err := json.MarshalIndent(b.m, "", "\t")
	if err != nil {
		return b.m, err
	}
	if err := b.put(manifestName, append(text, '\n')); err != nil {
		return b.m, err
	}
	return b.m, b.tar.Close()
}

type writer struct {
	tar      *tar.Writer
	m        Manifest
	done     int64
	progress func(int64)
}

// file adds a file that the manifest lists.
func (b *writer) file(name string, content []byte) error {
	sum := sha256.Sum256(content)
	b.m.Files = append(b.m.Files, File{name, int64(len(content)), hex.EncodeToString(sum[:])})
	return b.put(name, content)
}

func (b *writer) put(name string, content []byte) error {
	header := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: b.m.Created, Format: tar.FormatPAX}
	if err := b.tar.WriteHeader(header); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if _, err := b.tar.Write(content); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	b.done += int64(len(content))
	b.progress(b.done)
	return nil
}

// push copies the push database: keys and values, each after its length as a uvarint.
func (b *writer) push(ctx context.Context, s Source) error {
	var part []byte
	n := 0
	end := func() error {
		n++
		err := b.file(fmt.Sprintf("%s%06d%s", pushDir, n, suffix), part)
		part = part[:0]
		return err
	}
	err := s.Push(func(key, value []byte) error {
		part = appendFramed(appendFramed(part, key), value)
		b.m.Records++
		if cursor, ok := s.Cursor(key, value); ok {
			b.m.Cursor = cursor
		}
		if len(part) < fileBytes {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return end()
	})
	if err != nil {
		return err
	}
	return end()
}

func appendFramed(b, part []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// errCopied ends a follow at the last sequence to copy.
var errCopied = errors.New("copied")

// Records calls each with every record of an archive up to the newest one at the start, whose sequence it returns. It
// leaves out what retention drops meanwhile.
func Records(ctx context.Context, a Archive, each func(archive.Record) error) (last uint64, err error) {
	last = a.Last()
	for after := a.First() - 1; after < last; {
		err := a.Follow(ctx, after, func(records []archive.Record) error {
			for _, r := range records {
				if r.Seq > last {
					return errCopied
				}
				if err := each(r); err != nil {
					return err
				}
				after = r.Seq
			}
			if after >= last {
				return errCopied
			}
			return nil
		})
		var gap *archive.GapError
		switch {
		case errors.Is(err, errCopied):
			return last, nil
		case errors.As(err, &gap):
			after = gap.Oldest - 1
		default:
			return last, fmt.Errorf("read the archive: %w", err)
		}
	}
	return last, nil
}

// archive copies the archive up to its newest sequence.
func (b *writer) archive(ctx context.Context, a Archive) (err error) {
	var part bytes.Buffer
	var out *portable.Writer // of part; nil: no part is open
	first := uint64(0)       // first sequence in part
	end := func() error {
		if out == nil {
			return nil
		}
		if err := out.Close(); err != nil {
			return err
		}
		err := b.file(fmt.Sprintf("%s%020d%s", archiveDir, first, suffix), part.Bytes())
		part.Reset()
		out = nil
		return err
	}
	b.m.Last, err = Records(ctx, a, func(r archive.Record) (err error) {
		if out == nil {
			if out, err = portable.NewWriter(&part); err != nil {
				return err
			}
			first = r.Seq
		}
		if b.m.First == 0 {
			b.m.First = r.Seq
		}
		if err := out.Write(r); err != nil {
			return err
		}
		if b.m.Envelopes++; part.Len() < fileBytes {
			return nil
		}
		return end()
	})
	if err != nil {
		return err
	}
	return end()
}
