package postgres

import "testing"

// OpenForTest opens an empty database until the test ends.
func OpenForTest(t *testing.T) *DB { return opened(t, database(t), Options{}) }

// EachItsPart is an archive in which each transaction begins a part.
func EachItsPart() ArchiveOptions { return ArchiveOptions{width: eachItsPart} }
