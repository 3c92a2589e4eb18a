package postgres

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// anArchive is what the node, the mailserver and the push server ask of an archive.
type anArchive interface {
	Archive(ctx context.Context, envs []*whisper.Envelope, done func(error))
	Query(ctx context.Context, q archive.Query) (archive.Page, error)
	ByHash(ctx context.Context, hashes []common.Hash) (found []archive.Record, missing []common.Hash, err error)
	HashAt(seq uint64) (common.Hash, bool)
	Follow(ctx context.Context, after uint64, fn func([]archive.Record) error) error
	First() uint64
	Last() uint64
	Lost(after, before uint64) (n uint64, sure bool)
	ID() [archive.IDSize]byte
	Close() error
}

// envelope makes one whose size bytes of data, at least 8, are n's own.
func envelope(n uint64, topic whisper.Topic, sent, ttl uint32, size int) *whisper.Envelope {
	data := make([]byte, size)
	binary.BigEndian.PutUint64(data[size-8:], n)
	raw, err := rlp.EncodeToBytes([]any{sent + ttl, ttl, topic[:], data, n})
	if err != nil {
		panic(err)
	}
	e, err := whisper.DecodeEnvelope(raw)
	if err != nil {
		panic(err)
	}
	return e
}

// numbered makes an envelope that is alive, with one of ten topics.
func numbered(n uint64) *whisper.Envelope {
	return envelope(n, topicOf(n%10), uint32(time.Now().Unix()), 600, 64)
}

// topicOf makes a topic of a number.
func topicOf(n uint64) (t whisper.Topic) {
	binary.BigEndian.PutUint32(t[:], uint32(n))
	return t
}

// archived archives envs and waits for the answer.
func archived(a anArchive, envs ...*whisper.Envelope) error {
	done := make(chan error, 1)
	a.Archive(context.Background(), envs, func(err error) { done <- err })
	return <-done
}

// all reads the whole log, page by page.
func all(t require.TestingT, a anArchive) (records []archive.Record) {
	q := archive.Query{Upper: math.MaxUint32}
	for {
		page, err := a.Query(context.Background(), q)
		require.NoError(t, err)
		records = append(records, page.Records...)
		if page.Next == 0 {
			return records
		}
		q.After = page.Next
	}
}
