package pushext

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

// Log is the archive as the follower reads it: envelopes in the order of their
// receive sequences, which start at 1. Sequences are skipped where a part of the
// archive was damaged.
type Log interface {
	// First is the oldest sequence retained and Last the newest, 0 if the log
	// is empty.
	First() uint64
	Last() uint64
	// Lost is called for two sequences, both exclusive, with no entries between them.
	// It returns how many sequences between them belonged to envelopes that are gone.
	// The others were never assigned, or their envelopes have new sequences now. sure
	// says that no more envelopes were lost.
	Lost(after, before uint64) (n uint64, sure bool)
	// Follow calls fn with every entry after a sequence, in order, and then with new
	// ones as they come. It returns ctx's error, fn's, or one of its own, for example
	// that entries after the sequence are no longer retained. fn may block; it does
	// not keep the slice.
	Follow(ctx context.Context, after uint64, fn func([]Entry) error) error
}

// Identified is implemented by a Log with a unique identity, of at most
// pushwire.MaxLogID bytes.
type Identified interface{ LogID() []byte }

// Entry is one archived envelope.
type Entry struct {
	Seq      uint64 // receive sequence
	Hash     common.Hash
	Topic    whisper.Topic
	Received time.Time // when the archive took it
	// Data is the envelope's encrypted message. It tells a message that was posted
	// again from a new one. It is valid only during the call of fn.
	Data []byte
	// Quiet says that nobody is to be woken for it: it came late, with others from elsewhere.
	Quiet bool
}
