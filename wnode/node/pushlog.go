package node

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/mailserver/archive"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver"
	"whisperpush/whisper"
)

// pushLog shows the archive to the push server, which knows nothing of mailservers.
type pushLog struct{ Archive }

var (
	_ pushext.Log          = (*pushLog)(nil)
	_ pushext.Identified   = (*pushLog)(nil)
	_ pushserver.Envelopes = (*pushLog)(nil)
)

// LogID implements pushext.Identified.
func (l *pushLog) LogID() []byte {
	id := l.ID()
	return id[:]
}

// Follow implements pushext.Log. The entries are only valid during the call of fn.
func (l *pushLog) Follow(ctx context.Context, after uint64, fn func([]pushext.Entry) error) error {
	var entries []pushext.Entry
	return l.Archive.Follow(ctx, after, func(records []archive.Record) error {
		entries = entries[:0]
		for _, r := range records {
			entries = append(entries, pushext.Entry{Seq: r.Seq, Hash: r.Hash, Topic: r.Topic, Received: r.Received, Data: r.Envelope.Data, Quiet: isImported(r)})
		}
		return fn(entries)
	})
}

// ByHash implements pushserver.Envelopes.
func (l *pushLog) ByHash(ctx context.Context, hashes []common.Hash) (found []*whisper.Envelope, missing []common.Hash, err error) {
	records, missing, err := l.Archive.ByHash(ctx, hashes)
	for _, r := range records {
		found = append(found, r.Envelope)
	}
	return found, missing, err
}

// lateBy is how long after its expiry an envelope may be archived and still wake a device. The network brings no expired
// envelopes; those that a recovery archives again have not been expired for long.
const lateBy = time.Hour

// isImported reports whether an envelope was archived so long after its expiry that only an import can have brought it.
func isImported(r archive.Record) bool {
	return r.Received.Sub(time.Unix(int64(r.Envelope.Expiry), 0)) > lateBy
}
