package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/portable"
)

// ErrDamaged means that a backup is not as it was written, or incomplete.
var ErrDamaged = errors.New("the backup is damaged, or not whole")

// Limits on what is read from a file that is not verified yet, in bytes.
const (
	maxKey      = 4 << 10
	maxRecords  = fileBytes + 64<<20 // a file ends after the record that fills it
	maxManifest = 64 << 20
)

// Target receives the contents of a backup, in order. Functions may be nil.
type Target struct {
	Key      func(name string, content []byte) error
	Push     func(key, value []byte) error // the slices are valid during the call
	Record   func(archive.Record) error
	Progress func(done int64) // bytes read
}

// source calls each with every file, the manifest last.
type source func(each func(name string, size int64, r io.Reader) error) error

// ReadTar reads and checks a backup. What the target received is what was copied only if the error is nil.
func ReadTar(r io.Reader, t Target) (Manifest, error) {
	return read(func(each func(string, int64, io.Reader) error) error {
		files := tar.NewReader(bufio.NewReaderSize(r, 256<<10))
		for {
			header, err := files.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return damaged("%v", err)
			}
			if header.Typeflag != tar.TypeReg {
				return damaged("%q is no file", header.Name)
			}
			if err := each(header.Name, header.Size, files); err != nil {
				return err
			}
		}
	}, t)
}

// ReadDir is ReadTar for a directory.
func ReadDir(dir string, t Target) (Manifest, error) {
	return read(func(each func(string, int64, io.Reader) error) error {
		text, err := os.ReadFile(filepath.Join(dir, manifestName))
		if err != nil {
			return damaged("it has no %s", manifestName)
		}
		var m Manifest
		if err := json.Unmarshal(text, &m); err != nil {
			return damaged("its %s: %v", manifestName, err)
		}
		for _, f := range append(m.Files, File{Name: manifestName}) {
			if !fileName.MatchString(f.Name) {
				return damaged("%q is no file of a backup", f.Name)
			}
			if err := openFile(filepath.Join(dir, filepath.FromSlash(f.Name)), f.Name, each); err != nil {
				return err
			}
		}
		return nil
	}, t)
}

func openFile(path, name string, each func(string, int64, io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return damaged("its file %s cannot be read: %v", name, errors.Unwrap(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return each(name, info.Size(), f)
}

var fileName = regexp.MustCompile(`^(keys/[a-z][a-z.]{0,30}|push/[0-9]{6}\.records|archive/[0-9]{20}\.records|manifest\.json)$`)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

type reader struct {
	t       Target
	files   []File
	m       *Manifest
	done    int64
	records uint64
	first   uint64 // of the archive
	last    uint64
	n       uint64 // envelopes
}

func read(files source, t Target) (Manifest, error) {
	r := &reader{t: t}
	if err := files(r.file); err != nil {
		return Manifest{}, err
	}
	if r.m == nil {
		return Manifest{}, damaged("it ends without its %s", manifestName)
	}
	switch m := r.m; {
	case !slices.Equal(m.Files, r.files):
		return Manifest{}, damaged("its files are not those of its %s", manifestName)
	case m.Envelopes != r.n || m.First != r.first || m.Records != r.records:
		return Manifest{}, damaged("it has %d envelopes and %d records, and should have %d and %d", r.n, r.records, m.Envelopes, m.Records)
	case m.Cursor > m.Last || m.Last < r.last:
		return Manifest{}, damaged("its registrations are ahead of its archive")
	}
	return *r.m, nil
}

func (r *reader) file(name string, size int64, from io.Reader) error {
	most := int64(maxRecords)
	switch {
	case !fileName.MatchString(name):
		return damaged("%q is no file of a backup", name)
	case r.m != nil:
		return damaged("%s comes behind its %s", name, manifestName)
	case name == manifestName:
		most = maxManifest
	case strings.HasPrefix(name, keysDir):
		most = maxKey
	}
	if size > most {
		return damaged("%s has %d bytes, at most %d", name, size, most)
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(from, content); err != nil {
		return damaged("%s is cut off", name)
	}
	if r.done += size; r.t.Progress != nil {
		r.t.Progress(r.done)
	}
	if name == manifestName {
		m := new(Manifest)
		if err := json.Unmarshal(content, m); err != nil {
			return damaged("its %s: %v", manifestName, err)
		}
		if m.Version != manifestVersion {
			return fmt.Errorf("the backup is of version %d, and this program knows %d; use the program that wrote it", m.Version, manifestVersion)
		}
		r.m = m
		return nil
	}
	sum := sha256.Sum256(content)
	r.files = append(r.files, File{name, size, hex.EncodeToString(sum[:])})
	switch {
	case strings.HasPrefix(name, pushDir):
		return r.push(name, content)
	case strings.HasPrefix(name, archiveDir):
		return r.archive(name, content)
	}
	if r.t.Key != nil {
		return r.t.Key(strings.TrimPrefix(name, keysDir), content)
	}
	return nil
}

func (r *reader) push(name string, b []byte) error {
	for len(b) > 0 {
		var parts [2][]byte
		for i := range parts {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return damaged("%s has a record that is cut off", name)
			}
			parts[i], b = b[size:size+int(n)], b[size+int(n):]
		}
		r.records++
		if r.t.Push != nil {
			if err := r.t.Push(parts[0], parts[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) archive(name string, b []byte) error {
	in, err := portable.NewReader(bytes.NewReader(b))
	for err == nil {
		var one archive.Record
		if one, err = in.Next(); err != nil {
			break
		}
		if one.Seq <= r.last {
			return damaged("%s has the sequence %d behind %d", name, one.Seq, r.last)
		}
		if r.last, r.n = one.Seq, r.n+1; r.first == 0 {
			r.first = one.Seq
		}
		if r.t.Record != nil {
			if err := r.t.Record(one); err != nil {
				return err
			}
		}
	}
	if err != io.EOF {
		return damaged("%s: %v", name, err)
	}
	return nil
}
