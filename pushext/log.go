package pushext

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

// Log is the archive as the follower reads it: envelopes in the order of their
// receive sequences, which start at 1. Sequences are passed over where a part of
// the archive was damaged.
type Log interface {
	// First is the oldest sequence retained and Last the newest, 0 if the log
	// is empty.
	First() uint64
	Last() uint64
	// Lost tells how many of the sequences between after and before, both
	// exclusive, of which the log has none, were those of envelopes that are gone.
	// The others never were an envelope's, or it has another sequence now. sure
	// says that there were not more.
	Lost(after, before uint64) (n uint64, sure bool)
	// Follow calls fn with every entry after a sequence, in order, for ever. It
	// returns ctx's error, fn's, or one of its own, such as that entries after
	// the sequence are not retained any more. fn may block; it does not keep
	// the slice.
	Follow(ctx context.Context, after uint64, fn func([]Entry) error) error
}

// Identified is implemented by a Log that is told from every other by an
// identity of at most pushwire.MaxLogID bytes.
type Identified interface{ LogID() []byte }

// Entry is one archived envelope.
type Entry struct {
	Seq      uint64 // receive sequence
	Hash     common.Hash
	Topic    whisper.Topic
	Received time.Time // when the archive took it
	// Data is what the envelope carries, encrypted. It tells a message that was
	// posted again from a new one. It is valid during the call of fn only.
	Data []byte
}
