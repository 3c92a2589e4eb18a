package postgres_test

import (
	"context"
	"testing"

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
