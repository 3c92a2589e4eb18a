package archivetest_test

import (
	"testing"
	"time"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/archivetest"
	"whisperpush/wnode/node"
)

func place(t *testing.T) func() (node.Archive, error) {
	dir := t.TempDir()
	return func() (node.Archive, error) { return archive.Open(dir, archive.Options{Retention: -1}) }
}

func TestArchive(t *testing.T) { archivetest.Exercise(t, place) }

func TestSecondArchive(t *testing.T) { archivetest.OneAtATime(t, place) }

// A queue that is nearly always full, so that what is offered has to wait.
func TestArchiveWithoutRoom(t *testing.T) {
	archivetest.Exercise(t, func(t *testing.T) func() (node.Archive, error) {
		dir := t.TempDir()
		return func() (node.Archive, error) {
			return archive.Open(dir, archive.Options{Retention: -1, QueueBytes: 1})
		}
	})
}

func TestCopies(t *testing.T) {
	archivetest.Copies(t, func(t *testing.T) archivetest.Place {
		dir := t.TempDir()
		return archivetest.Place{
			Build: func(o archive.Origin) (archive.Copy, error) {
				return archive.Rebuild(dir, archive.Options{Retention: 32 * time.Minute}, o)
			},
			Open: func() (node.Archive, error) { return archive.Open(dir, archive.Options{Retention: -1}) },
			Read: func() (archive.Source, error) { return archive.Read(dir) },
		}
	})
}
