package node

import (
	"context"

	"whisperpush/mailserver"
	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// Archive is all that a node needs of the log of envelopes: the Whisper node fills it,
// the mailserver answers from it, and the push server follows it. *archive.Archive is
// one; package archivetest checks others.
type Archive interface {
	whisper.Archiver // Archive, which numbers what it stores without gaps
	mailserver.Store // Query, ByHash, Last, HashAt, ID

	// First returns the oldest sequence that is kept, Last()+1 if nothing is.
	First() uint64
	// Follow calls fn with every record above after, in order, without repeating or
	// leaving out any, and goes on as new ones are archived, until ctx ends or fn
	// returns an error. The error is an *archive.GapError or *archive.AheadError for a
	// cursor outside the log.
	Follow(ctx context.Context, after uint64, fn func([]archive.Record) error) error
	// Lost returns how many envelopes a follower missed that was given no record
	// between the sequences after and before. sure reports whether it missed no more
	// than that.
	Lost(after, before uint64) (n uint64, sure bool)
	// Probe returns nil if the archive can be written to again.
	Probe() error
	// DamagedParts names the parts that are set aside and not salvaged yet.
	DamagedParts() []string
	// Close closes the archive. Later calls fail with archive.ErrClosed.
	Close() error
}
