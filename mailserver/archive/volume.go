package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"whisperpush/durable"
)

// The archive's directory holds one directory per partition, named by its first
// sequence, a LOCK, the record of the log, and partitions that were set aside:
//
//	log.json                                              the record of the log, see logState
//	p00000000000000000001/                                a partition
//	p00000000000000000001.corrupt-20060102T150405Z/       a damaged one, kept for "wnode recover"
//	p00000000000000000001.dropped/                        one that is being deleted
const (
	partitionPrefix  = "p"
	droppedSuffix    = ".dropped"
	quarantineSuffix = ".corrupt-"
	quarantineTime   = "20060102T150405Z"
	logStateName     = "log.json"
)

func partitionName(first uint64) string { return fmt.Sprintf("%s%020d", partitionPrefix, first) }

// parsePartition is the inverse of partitionName.
func parsePartition(name string) (first uint64, ok bool) {
	digits, found := strings.CutPrefix(name, partitionPrefix)
	if !found || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0
}

// parseQuarantined returns the first sequence of a partition that was set aside.
func parseQuarantined(name string) (first uint64, ok bool) {
	name, _, found := strings.Cut(name, quarantineSuffix)
	if !found {
		return 0, false
	}
	return parsePartition(name)
}

func quarantineName(name string, now time.Time) string {
	return name + quarantineSuffix + now.UTC().Format(quarantineTime)
}

// volume holds the partitions' directories. Tests inject faults into it.
type volume interface {
	// list returns the names of all directories.
	list() ([]string, error)
	// open returns what a partition's database is opened with: its directory, or a
	// storage in its place. It is created if it does not exist; sync makes it durable.
	open(name string) (dir string, s durable.Storage, err error)
	rename(from, to string) error
	remove(name string) error
	// sync makes the names durable.
	sync() error
	// readState returns what writeState last wrote durably, or nil if it never did.
	readState() ([]byte, error)
	writeState(b []byte) error
	// close releases the volume.
	close() error
}

// directory is the volume used in production.
type directory struct {
	path   string
	unlock func()
}

func openDirectory(path string) (*directory, error) {
	unlock, err := durable.LockDir(path)
	if err != nil {
		return nil, err
	}
	return &directory{path: path, unlock: unlock}, nil
}

func (d *directory) list() (names []string, err error) {
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d *directory) open(name string) (string, durable.Storage, error) {
	return filepath.Join(d.path, name), nil, nil // durable.Open makes it
}

func (d *directory) rename(from, to string) error {
	return os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to))
}

func (d *directory) remove(name string) error {
	err := os.RemoveAll(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *directory) sync() error { return durable.SyncDir(d.path) }

func (d *directory) readState() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(d.path, logStateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (d *directory) writeState(b []byte) error {
	return durable.ReplaceFile(filepath.Join(d.path, logStateName), b)
}

func (d *directory) close() error {
	d.unlock()
	return nil
}
