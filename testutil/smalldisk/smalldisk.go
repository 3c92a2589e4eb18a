//go:build linux

// Package smalldisk mounts small disks for tests that fill them. Each is a tmpfs of its
// own, so it is really full, and nothing else is.
package smalldisk

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
)

// pieceSize is how much ballast is written at once.
const pieceSize = 1 << 20

// Disk is a small disk. Its methods must not be called concurrently.
type Disk struct {
	// Dir is the mount point. Everybody may write there.
	Dir string
}

// Mount mounts a disk of a size in bytes, or with a unit as mount takes them: "48m". It
// needs the right to mount.
func Mount(size string) (*Disk, error) {
	dir, err := os.MkdirTemp("", "disk")
	if err != nil {
		return nil, err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777,size="+size); err != nil {
		return nil, errors.Join(fmt.Errorf("a tmpfs cannot be mounted: %w", err), os.Remove(dir))
	}
	return &Disk{Dir: dir}, nil
}

// Unmount removes the disk and its contents. Files that are still open are removed when
// they are closed.
func (d *Disk) Unmount() error {
	if err := syscall.Unmount(d.Dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", d.Dir, err)
	}
	return os.Remove(d.Dir)
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }

// Fill fills the disk with a file of ballast, except for leave bytes.
func (d *Disk) Fill(leave int64) error {
	f, err := os.OpenFile(d.ballast(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	take := int64(math.MaxInt64) // until there is none left, however fast others take it
	if leave > 0 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(d.Dir, &st); err != nil {
			return err
		}
		take = int64(st.Bavail)*st.Bsize - leave
	}
	for piece := make([]byte, pieceSize); take > 0 && len(piece) > 0; {
		n, err := f.Write(piece[:min(int64(len(piece)), take)])
		take -= int64(n)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			piece = piece[:len(piece)/2]
		case err != nil:
			return err
		}
	}
	return nil
}

// Free frees the space again.
func (d *Disk) Free() error { return os.Remove(d.ballast()) }
