package backup

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"whisperpush/durable"
)

// unfinished is the suffix of a backup's name until it is complete and checked.
const unfinished = ".partial"

// SaveDir writes the backup that r has as a tar into dir, which does not exist, and reads it back to check it. It
// replaces what an interrupted call left.
func SaveDir(r io.Reader, dir string) (Manifest, error) {
	next := dir + unfinished
	if err := os.RemoveAll(next); err != nil {
		return Manifest{}, err
	}
	files := tar.NewReader(r)
	for {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Manifest{}, err
		}
		if !fileName.MatchString(header.Name) {
			return Manifest{}, damaged("%q is no file of a backup", header.Name)
		}
		path := filepath.Join(next, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return Manifest{}, err
		}
		if err := save(path, files); err != nil {
			return Manifest{}, err
		}
	}
	m, err := ReadDir(next, Target{})
	if err != nil {
		return m, err
	}
	for _, sub := range []string{keysDir, pushDir, archiveDir} {
		if err := durable.SyncDir(filepath.Join(next, sub)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
	}
	return m, errors.Join(durable.SyncDir(next), os.Rename(next, dir), durable.SyncDir(filepath.Dir(dir)))
}

// SaveFile is SaveDir for one file, a tar.
func SaveFile(r io.Reader, path string) (m Manifest, err error) {
	next := path + unfinished
	if err := save(next, r); err != nil {
		return m, err
	}
	f, err := os.Open(next)
	if err != nil {
		return m, err
	}
	m, err = ReadTar(f, Target{})
	if err = errors.Join(err, f.Close()); err != nil {
		return m, err
	}
	return m, errors.Join(os.Rename(next, path), durable.SyncDir(filepath.Dir(path)))
}

// save writes a file durably, readable only by its owner.
func save(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
