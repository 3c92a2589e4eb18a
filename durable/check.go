package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Check reads everything in the database in dir and returns the number of keys. The
// error is ErrCorrupted if anything is not as it was written, ErrLocked if the database
// is open elsewhere, and fs.ErrNotExist if there is none. Check changes nothing.
// progress, which may be nil, is called with bytes read and bytes in all.
func Check(ctx context.Context, dir string, progress func(done, total int64)) (keys int, err error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if _, err := os.Stat(dir); err != nil {
		return 0, err
	}
	d, err := Open(dir, Options{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) { // one of its files
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupted, dir, err)
	} else if err != nil {
		return 0, err
	}
	defer d.Close()
	var done, total int64
	for _, pattern := range []string{"*.ldb", "*.log"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are good
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				total += info.Size()
			}
		}
	}
	it := d.Scan(nil, nil)
	defer it.Release()
	for ; it.Next(); keys++ {
		done += int64(len(it.Key()) + len(it.Value()))
		if keys%checkEvery != 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return keys, err
		}
		progress(min(done, total), total) // tables are compressed, and have old versions
	}
	if err := it.Release(); err != nil {
		return keys, err
	}
	progress(total, total)
	return keys, nil
}

// checkEvery is how many keys are read between two calls of progress.
const checkEvery = 1000
