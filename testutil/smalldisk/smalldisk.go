//go:build linux

// Package smalldisk mounts small disks for tests that fill them: each is a tmpfs of its
// own, so that what is full is really full, and nothing else is.
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

// Disk is a small disk. Its methods are not to be called concurrently.
type Disk struct {
	// Dir is where it is mounted. Everybody may write there.
	Dir string
}

// Mount mounts a disk of so many bytes, or with a unit as mount has them: "48m". It needs
// the right to mount.
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

// Unmount removes the disk and what is on it. What is open on it goes when it is closed.
func (d *Disk) Unmount() error {
	if err := syscall.Unmount(d.Dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", d.Dir, err)
	}
	return os.Remove(d.Dir)
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }

// Fill takes all the space but so many bytes, with a file of ballast.
func (d *Disk) Fill(leave int64) error {
	f, err := os.OpenFile(d.ballast(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	take := int64(math.MaxInt64) // until there is none, however fast others are
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

// Free gives the space back.
func (d *Disk) Free() error { return os.Remove(d.ballast()) }
