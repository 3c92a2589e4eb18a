package requests

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/whisper"
)

// Envelopes finds archived envelopes to answer a Fetch.
type Envelopes interface {
	// ByHash returns the envelopes that are archived, in no particular order,
	// and the hashes of those that are not.
	ByHash(ctx context.Context, hashes []common.Hash) (found []*whisper.Envelope, missing []common.Hash, err error)
}
