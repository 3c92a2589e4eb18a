package postgres_test

import (
	"context"
	"testing"
	"time"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/archivetest"
	"whisperpush/postgres"
	"whisperpush/wnode/node"
)

// place is for archives with a database of their own.
func place(o postgres.ArchiveOptions) func(t *testing.T) func() (node.Archive, error) {
	o.Retention = -1
	return func(t *testing.T) func() (node.Archive, error) {
		d := postgres.OpenForTest(t)
		return func() (node.Archive, error) { return d.Archive(context.Background(), o) }
	}
}

func TestArchive(t *testing.T) { archivetest.Exercise(t, place(postgres.ArchiveOptions{})) }

func TestArchiveOfManyParts(t *testing.T) {
	archivetest.Exercise(t, place(postgres.EachItsPart()))
}

func TestCopies(t *testing.T) {
	archivetest.Copies(t, func(t *testing.T) archivetest.Place {
		d := postgres.OpenForTest(t)
		o := postgres.ArchiveOptions{Retention: -1}
		return archivetest.Place{
			Build: func(origin archive.Origin) (archive.Copy, error) {
				return d.Build(context.Background(), postgres.ArchiveOptions{Retention: 32 * time.Minute}, origin)
			},
			Open: func() (node.Archive, error) { return d.Archive(context.Background(), o) },
			Read: func() (archive.Source, error) { return d.Read(context.Background()) },
		}
	})
}
