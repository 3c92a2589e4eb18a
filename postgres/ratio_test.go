package postgres

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// BenchmarkArchiveBesideBare archives envelopes of 420 bytes, by one node and four callers
// with 100 in a submission, and has a bare loop on one connection insert the same rows into
// a table with the same columns and indexes, in the best of some group sizes. An operation
// is 20,000 envelopes both ways; the ratio is how many a second we commit for one of the
// loop's. The server of the tests does not fsync.
func BenchmarkArchiveBesideBare(b *testing.B) {
	if noServer != nil {
		b.Skip(noServer)
	}
	const rows = 20_000
	url, err := server.Database(background)
	require.NoError(b, err)
	d, err := Open(background, url, Options{})
	require.NoError(b, err)
	defer d.Close()
	a, err := d.Archive(background, ArchiveOptions{})
	require.NoError(b, err)
	defer a.Close()
	conn, err := pgx.Connect(background, url)
	require.NoError(b, err)
	defer conn.Close(background)
	for _, statement := range []string{
		"CREATE TABLE " + Schema + ".bare (seq bigint PRIMARY KEY, received bigint NOT NULL, sent bigint NOT NULL, topic bytea NOT NULL, hash bytea NOT NULL UNIQUE, raw bytea NOT NULL)",
		"ALTER TABLE " + Schema + ".bare ALTER COLUMN raw SET STORAGE EXTERNAL",
		"CREATE INDEX ON " + Schema + ".bare (topic, seq) INCLUDE (sent)",
	} {
		_, err := conn.Exec(background, statement)
		require.NoError(b, err)
	}
	next := 0
	fresh := func() []*whisper.Envelope {
		envs := make([]*whisper.Envelope, rows)
		now := uint32(time.Now().Unix())
		for n := range envs {
			next++
			envs[n] = envelope(uint64(next), topicOf(uint64(next%5000)), now, 600, 400)
			envs[n].Hash() // known, as of what came from a peer
		}
		return envs
	}
	var ours, best time.Duration
	for b.Loop() {
		envs := fresh()
		start := time.Now()
		var wg sync.WaitGroup
		for c := range 4 {
			wg.Go(func() {
				for at := c * 100; at < rows; at += 400 {
					if err := archived(a, envs[at:min(at+100, rows)]...); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		ours += time.Since(start)

		fastest := time.Duration(0)
		for _, group := range []int{100, 400, 1000} {
			envs, base := fresh(), next
			start := time.Now()
			for at := 0; at < rows; at += group {
				require.NoError(b, insertBare(conn, int64(base+at), envs[at:min(at+group, rows)]))
			}
			if took := time.Since(start); fastest == 0 || took < fastest {
				fastest = took
			}
		}
		best += fastest
	}
	n := float64(rows * b.N)
	b.ReportMetric(n/ours.Seconds(), "envelopes/s")
	b.ReportMetric(n/best.Seconds(), "bare/s")
	b.ReportMetric(best.Seconds()/ours.Seconds(), "ratio")
}

func insertBare(conn *pgx.Conn, base int64, envs []*whisper.Envelope) error {
	n := len(envs)
	seqs, received, sents := make([]int64, n), make([]int64, n), make([]int64, n)
	topics, hashes, raws := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, e := range envs {
		hash := e.Hash()
		seqs[i], received[i], sents[i] = base+int64(i), time.Now().UnixMilli(), int64(e.Sent())
		topics[i], hashes[i], raws[i] = e.Topic[:], hash[:], e.Raw()
	}
	tag, err := conn.Exec(background, "INSERT INTO "+Schema+".bare SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])",
		seqs, received, sents, topics, hashes, raws)
	if err == nil && tag.RowsAffected() != int64(n) {
		err = fmt.Errorf("%d rows of %d", tag.RowsAffected(), n)
	}
	return err
}
