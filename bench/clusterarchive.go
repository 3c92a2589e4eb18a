package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/jackc/pgx/v5"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/postgres"
	"whisperpush/whisper"
)

// bareGroups are the sizes of groups, in envelopes, of which the best counts.
var bareGroups = []int{100, 400, 1000, 2000, 4000}

func withPassword(store, password string) (string, error) {
	u, err := url.Parse(store)
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String(), nil
}

// mail makes envelopes that were sent now; topic returns the topic of each. Their hashes
// are computed already, as for envelopes from a peer.
func mail(count int, topic func(i int) whisper.Topic) ([]*whisper.Envelope, error) {
	expiry := uint32(time.Now().Unix()) + loadTTL
	raws := make([][]byte, count)
	for i := range raws {
		data := make([]byte, dataSize)
		for at := range slices.Chunk(data, 32) {
			copy(at, crypto.Keccak256(fmt.Append(nil, i, len(at)))) // incompressible
		}
		var err error
		if raws[i], err = rlp.EncodeToBytes([]any{expiry, uint32(loadTTL), topic(i), data, uint64(i)}); err != nil {
			return nil, err
		}
	}
	envs, err := decode(raws)
	for _, e := range envs {
		e.Hash()
	}
	return envs, err
}

// clusterIngest times the archive of a node on PostgreSQL through postgres.Archive, as a
// whisper.Node calls it, and one connection of pgx that only inserts the same rows, in
// groups of its fastest size, with one statement and commit each. Its table is made like
// the archive's, so it has the same columns, constraints and indexes. Both use the same
// server, which fsyncs. The loop knows the sequences in advance, never skips an envelope,
// and would fail at one that is already there.
func (s *suite) clusterIngest(ctx context.Context) error {
	envs, err := mail(s.shared, func(i int) whisper.Topic { return channelTopic(i % 1000) })
	if err != nil {
		return err
	}
	rate := func(start time.Time) float64 { return float64(len(envs)) / time.Since(start).Seconds() }
	ours := func() (float64, error) {
		db, a, err := s.sharedArchive(ctx)
		if err != nil {
			return 0, err
		}
		defer db.Close()
		defer a.Close()
		start := time.Now()
		if err := archiveAll(ctx, a, envs, archiveWriters); err != nil {
			return 0, err
		}
		return rate(start), nil
	}
	group := 0
	bare := func() (float64, error) {
		db, a, err := s.sharedArchive(ctx)
		if err != nil {
			return 0, err
		}
		defer db.Close()
		if err := a.Close(); err != nil {
			return 0, err
		}
		conn, err := pgx.Connect(ctx, s.latest)
		if err != nil {
			return 0, err
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "CREATE SCHEMA bare; CREATE TABLE bare.log (LIKE "+postgres.Schema+".log_1 INCLUDING ALL)"); err != nil {
			return 0, err
		}
		start := time.Now()
		seq := int64(0)
		for part := range slices.Chunk(envs, group) {
			if err := insertBare(ctx, conn, seq, part); err != nil {
				return 0, err
			}
			seq += int64(len(part))
		}
		return rate(start), nil
	}
	best, chosen := 0.0, 0
	for _, group = range bareGroups {
		r, err := bare()
		if err != nil {
			return err
		}
		if r > best {
			best, chosen = r, group
		}
	}
	group = chosen
	as, bs, err := pairs(max(s.pairs, 3), ours, bare)
	if err != nil {
		return err
	}
	s.report.add("cluster_ingest_ratio", ratio(as, bs), detail{"cluster_ingest_ours", median(as), "envelopes/s"},
		detail{"cluster_ingest_bare", median(bs), "envelopes/s"}, detail{"cluster_ingest_bare_group", float64(group), "envelopes"},
		detail{"cluster_ingest_archived", float64(len(envs)), "envelopes"})
	return nil
}

// sharedArchive opens the archive in a new database, whose URL is then s.latest.
func (s *suite) sharedArchive(ctx context.Context) (*postgres.DB, *postgres.Archive, error) {
	_, full, err := s.database(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.latest = full
	db, err := postgres.Open(ctx, full, postgres.Options{})
	if err != nil {
		return nil, nil, err
	}
	a, err := db.Archive(ctx, postgres.ArchiveOptions{})
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return db, a, nil
}

// insertBare commits envelopes in one statement, as arrays in the binary format.
func insertBare(ctx context.Context, conn *pgx.Conn, base int64, envs []*whisper.Envelope) error {
	n := len(envs)
	seqs, received, sents := make([]int64, n), make([]int64, n), make([]int64, n)
	topics, hashes, raws := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	now := time.Now().UnixMilli()
	for i, e := range envs {
		hash := e.Hash()
		seqs[i], received[i], sents[i] = base+int64(i)+1, now, int64(e.Sent())
		topics[i], hashes[i], raws[i] = e.Topic[:], hash[:], e.Raw()
	}
	tag, err := conn.Exec(ctx, `INSERT INTO bare.log (seq, received, sent, topic, hash, raw)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])`,
		seqs, received, sents, topics, hashes, raws)
	if err == nil && tag.RowsAffected() != int64(n) {
		err = fmt.Errorf("%d rows of %d", tag.RowsAffected(), n)
	}
	return err
}

// queriesAtOnce is how many queries each side answers in its turn.
const queriesAtOnce = 200

// clusterQuery times the archive's answers to queries for all envelopes of a topic, and the
// SQL query that a program with one table would use, prepared, on one connection. It also
// reports how long a client waits over the wire.
func (s *suite) clusterQuery(ctx context.Context) error {
	topics := max(s.shared/perTopic, 1)
	envs, err := mail(topics*perTopic, func(i int) whisper.Topic { return channelTopic(i % topics) })
	if err != nil {
		return err
	}
	store, full, err := s.database(ctx)
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, full, postgres.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	a, err := db.Archive(ctx, postgres.ArchiveOptions{})
	if err != nil {
		return err
	}
	defer a.Close()
	if err := archiveAll(ctx, a, envs, archiveWriters); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, full)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "VACUUM ANALYZE "+postgres.Schema+".log_1"); err != nil {
		return err
	}
	lower, upper := envs[0].Sent()-60, envs[len(envs)-1].Sent()+60
	choice := rand.New(rand.NewPCG(uint64(s.seed), 5))
	several := func(ask func(whisper.Topic) (int, error)) func() (float64, error) {
		return func() (float64, error) {
			times := make([]float64, queriesAtOnce)
			for i := range times {
				topic := channelTopic(choice.IntN(topics))
				start := time.Now()
				found, err := ask(topic)
				if err != nil {
					return 0, err
				}
				if times[i] = milliseconds(time.Since(start)); found != perTopic {
					return 0, fmt.Errorf("%d envelopes of a topic that has %d", found, perTopic)
				}
			}
			return median(times), nil
		}
	}
	ours := several(func(topic whisper.Topic) (int, error) {
		page, err := a.Query(ctx, archive.Query{Lower: lower, Upper: upper, Topics: []whisper.Topic{topic}})
		return len(page.Records), err
	})
	bare := several(func(topic whisper.Topic) (int, error) {
		rows, err := conn.Query(ctx, "SELECT seq, received, hash, raw FROM "+postgres.Schema+".log_1 WHERE topic = $1 AND sent BETWEEN $2 AND $3 ORDER BY seq", topic[:], int64(lower), int64(upper))
		if err != nil {
			return 0, err
		}
		var seq, received int64
		var hash, raw []byte
		found := 0
		_, err = pgx.ForEachRow(rows, []any{&seq, &received, &hash, &raw}, func() error { found++; return nil })
		return found, err
	})
	if _, _, err := pairs(1, ours, bare); err != nil { // for the caches
		return err
	}
	as, bs, err := pairs(max(s.pairs, 5), ours, bare)
	if err != nil {
		return err
	}
	wire, err := s.wireQueries(ctx, store, topics, lower, upper)
	if err != nil {
		return err
	}
	s.report.add("cluster_query_ratio", ratio(as, bs), detail{"cluster_query_ours", median(as), "ms"}, detail{"cluster_query_bare", median(bs), "ms"},
		detail{"cluster_query_wire", wire, "ms"}, detail{"cluster_query_found", perTopic, "envelopes"}, detail{"cluster_query_archived", float64(len(envs)), "envelopes"})
	return nil
}

// wireQueries measures how long a client waits for all envelopes of a topic, in
// milliseconds.
func (s *suite) wireQueries(ctx context.Context, store string, topics int, lower, upper uint32) (float64, error) {
	dir, err := s.temp()
	if err != nil {
		return 0, err
	}
	n, err := s.startNode(ctx, dir, "--mailserver", "--store", store)
	if err != nil {
		return 0, err
	}
	defer n.stop()
	choice := rand.New(rand.NewPCG(uint64(s.seed), 6))
	var times []float64
	for range max(s.queries, 3) {
		a, err := newAsker(ctx, n.self)
		if err != nil {
			return 0, n.explain(err)
		}
		for range oursPerGenuine {
			topic := channelTopic(choice.IntN(topics))
			took, err := a.ask(ctx, mailwire.Request{Form: mailwire.List, Lower: lower, Upper: upper, Topics: []whisper.Topic{topic}, Batch: true},
				perTopic, func(e *whisper.Envelope) bool { return e.Topic == topic })
			if err != nil {
				a.close()
				return 0, n.explain(err)
			}
			times = append(times, milliseconds(took))
		}
		a.close()
	}
	return median(times), nil
}
