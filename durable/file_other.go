//go:build !linux

package durable

import "os"

// syncData is fsync where there is no less.
func syncData(f *os.File) error { return f.Sync() }
