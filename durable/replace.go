package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// replaceSuffix is the suffix of a file until ReplaceFile has written it.
const replaceSuffix = ".tmp"

// ReplaceFile makes data the content of the file at path, durably. Whatever happens
// meanwhile, the file has either its old content or the new, and the new one once
// ReplaceFile has returned nil. It is for small files beside databases. Calls for the
// same path must not overlap.
func ReplaceFile(path string, data []byte) error {
	next := path + replaceSuffix
	err := writeSynced(next, data)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
