//go:build !linux

package durable

import "os"

// syncData is fsync on systems without fdatasync.
func syncData(f *os.File) error { return f.Sync() }
