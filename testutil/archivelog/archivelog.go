// Package archivelog shows an archive to a push server in tests, as a node does.
package archivelog

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/mailserver/archive"
	"whisperpush/pushext"
	"whisperpush/whisper"
)

// Log is a pushext.Log, and what a Fetch is answered from.
type Log struct {
	*archive.Archive
	// Topic is the topic that the push server is shown of a record; nil: its own.
	Topic func(archive.Record) whisper.Topic
}

// LogID implements pushext.Identified.
func (l Log) LogID() []byte {
	id := l.ID()
	return id[:]
}

// Follow implements pushext.Log.
func (l Log) Follow(ctx context.Context, after uint64, fn func([]pushext.Entry) error) error {
	return l.Archive.Follow(ctx, after, func(records []archive.Record) error {
		var entries []pushext.Entry
		for _, r := range records {
			topic := r.Topic
			if l.Topic != nil {
				topic = l.Topic(r)
			}
			entries = append(entries, pushext.Entry{Seq: r.Seq, Hash: r.Hash, Topic: topic, Received: r.Received, Data: r.Envelope.Data})
		}
		return fn(entries)
	})
}

// ByHash implements pushserver.Envelopes.
func (l Log) ByHash(ctx context.Context, hashes []common.Hash) (found []*whisper.Envelope, missing []common.Hash, err error) {
	records, missing, err := l.Archive.ByHash(ctx, hashes)
	for _, r := range records {
		found = append(found, r.Envelope)
	}
	return found, missing, err
}
