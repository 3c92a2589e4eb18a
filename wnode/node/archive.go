package node

import (
	"context"

	"whisperpush/mailserver"
	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// Archive is all that a node needs of the log of envelopes: the Whisper node fills it,
// the mailserver answers from it, and the push server follows it. *archive.Archive is
// one; package archivetest tells whether something else is.
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
	// Lost tells a follower that was given no record between the sequences after and
	// before how many envelopes it missed, and whether there were not more.
	Lost(after, before uint64) (n uint64, sure bool)
	// Probe tells whether the archive can be written to again.
	Probe() error
	// DamagedParts names what is set aside and not salvaged yet.
	DamagedParts() []string
	// Close gives the archive back. What is asked of it later fails with
	// archive.ErrClosed.
	Close() error
}
