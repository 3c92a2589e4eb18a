package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/testutil/genuinenode"
	"whisperpush/whisper"
)

const (
	// perTopic is how many archived envelopes each topic has.
	perTopic = 100
	// archiveDay is the range of time in which the archived envelopes were sent,
	// in seconds.
	archiveDay = 24 * 3600
	// oursPerGenuine is how many queries our node answers while the genuine node
	// answers one. Each such round has a link of its own, because our node
	// limits how much one peer may ask.
	oursPerGenuine = 20
)

// large is a large archive of ours: a data directory that several benchmarks
// start a node on.
type large struct {
	load genuinenode.Load
	dir  string
}

// largeArchive fills an archive of ours, once.
func (s *suite) largeArchive(ctx context.Context) (*large, error) {
	if s.large != nil {
		return s.large, nil
	}
	m := &large{load: genuinenode.Load{
		Count: s.archived, Seed: s.seed, Topics: max(s.archived/perTopic, 1), Size: dataSize, TTL: 50,
		From: uint32(time.Now().Unix()) - archiveDay, Span: archiveDay - 60,
	}}
	path, err := s.envelopes(ctx, m.load)
	if err != nil {
		return nil, err
	}
	raws, err := readRaw(path)
	if err != nil {
		return nil, err
	}
	envs, err := decode(raws)
	if err != nil {
		return nil, err
	}
	if m.dir, err = s.temp(); err != nil {
		return nil, err
	}
	a, err := archive.Open(filepath.Join(m.dir, "archive"), archive.Options{})
	if err != nil {
		return nil, err
	}
	if err := archiveAll(ctx, a, envs, archiveWriters); err != nil {
		a.Close()
		return nil, err
	}
	s.large = m
	return m, a.Close()
}

// asker sends mail requests over a link of its own.
type asker struct {
	*link
	key []byte // made from the mailserver's password
}

func newAsker(ctx context.Context, to *enode.Node) (*asker, error) {
	l, err := dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return &asker{l, whisper.KeyFromPassword(mailPassword)}, nil
}

// seal makes the packet 126 of a request.
func (a *asker) seal(ctx context.Context, r mailwire.Request) ([]byte, error) {
	payload, err := r.Encode()
	if err != nil {
		return nil, err
	}
	signer, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	e, err := whisper.Seal(ctx, whisper.Draft{Payload: payload, Key: a.key, Sign: signer, TTL: 600})
	if err != nil {
		return nil, err
	}
	return e.Raw(), nil
}

// ask times a request from sending it until want of the envelopes that count
// have arrived.
func (a *asker) ask(ctx context.Context, r mailwire.Request, want int, counts func(*whisper.Envelope) bool) (time.Duration, error) {
	packet, err := a.seal(ctx, r)
	if err != nil {
		return 0, err
	}
	done := make(chan struct{}, 1)
	got := 0
	a.handle(func(code uint64, payload []byte) {
		if code != whisper.DirectPacket {
			return
		}
		for _, e := range direct(payload) {
			if counts(e) {
				if got++; got == want {
					done <- struct{}{}
				}
			}
		}
	})
	start := time.Now()
	if err := a.send(whisper.RequestPacket, packet); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, fmt.Errorf("no answer to a %v request in 2 minutes", r.Form))
	defer cancel()
	err = a.wait(ctx, done)
	return time.Since(start), err
}

// direct decodes a packet 127: one envelope, or a list of them.
func direct(payload []byte) []*whisper.Envelope {
	if e, err := whisper.DecodeEnvelope(payload); err == nil {
		return []*whisper.Envelope{e}
	}
	envs, _, _ := whisper.DecodeEnvelopes(payload)
	return envs
}

// mailQueries times the answers to requests for one topic over the wire. The
// genuine mailserver knows only bloom filters; ours is asked both ways.
func (s *suite) mailQueries(ctx context.Context) error {
	m, err := s.largeArchive(ctx)
	if err != nil {
		return err
	}
	ours, err := s.startNode(ctx, m.dir, "--mailserver")
	if err != nil {
		return err
	}
	defer ours.stop()

	dir, err := s.temp()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	genuine, err := genuinenode.Start(ctx, genuinenode.Options{MailDir: dir, MailPassword: mailPassword})
	if err != nil {
		return err
	}
	defer genuine.Stop()
	if _, err := genuine.Fill(ctx, genuinenode.Load{File: s.loads[m.load]}, archiveWriters); err != nil {
		return err
	}
	self, err := enode.ParseV4(genuine.Enode)
	if err != nil {
		return err
	}
	their, err := newAsker(ctx, self)
	if err != nil {
		return err
	}
	defer their.close()

	choice := rand.New(rand.NewPCG(uint64(s.seed), 0))
	ask := func(a *asker, exact bool) (float64, error) {
		topic := whisper.Topic(m.load.Topic(choice.IntN(m.load.Topics)))
		bloom := topic.Bloom()
		request := mailwire.Request{Form: mailwire.Classic, Lower: m.load.From, Upper: m.load.From + archiveDay, Bloom: &bloom}
		if exact {
			request.Form, request.Bloom, request.Topics, request.Batch = mailwire.List, nil, []whisper.Topic{topic}, true
		}
		took, err := a.ask(ctx, request, perTopic, func(e *whisper.Envelope) bool { return e.Topic == topic })
		return milliseconds(took), err
	}
	several := func(exact bool) (float64, error) {
		our, err := newAsker(ctx, ours.self)
		if err != nil {
			return 0, ours.explain(err)
		}
		defer our.close()
		all := make([]float64, oursPerGenuine)
		for i := range all {
			if all[i], err = ask(our, exact); err != nil {
				return 0, ours.explain(err)
			}
		}
		return median(all), nil
	}
	// Once each for the caches.
	if _, err := ask(their, false); err != nil {
		return err
	}
	if _, err := several(false); err != nil {
		return err
	}
	var byTopic, byBloom, genuineTimes []float64
	for range s.queries {
		t, err := several(true)
		if err != nil {
			return err
		}
		g, err := ask(their, false)
		if err != nil {
			return err
		}
		b, err := several(false)
		if err != nil {
			return err
		}
		byTopic, byBloom, genuineTimes = append(byTopic, t), append(byBloom, b), append(genuineTimes, g)
	}
	s.report.add("topic_query_ratio", ratio(genuineTimes, byTopic), detail{"topic_query_ours", median(byTopic), "ms"},
		detail{"topic_query_genuine", median(genuineTimes), "ms"}, detail{"query_archived", float64(m.load.Count), "envelopes"})
	s.report.add("bloom_query_ratio", ratio(genuineTimes, byBloom), detail{"bloom_query_ours", median(byBloom), "ms"})
	return nil
}

const (
	fetchedHashes = 10
	// fetchLoad is how many envelopes a second are archived meanwhile, and
	// fetchTick how often some of them are sent.
	fetchLoad = 5000
	fetchTick = 10 * time.Millisecond
	// fetchesPerLink is below what our node lets one peer ask in a minute.
	fetchesPerLink = 100
)

// hashFetch times requests for ten envelopes by hash, from sending to the end
// mark, and devp2p pings on the same link, in turns, while another link brings
// envelopes to archive.
func (s *suite) hashFetch(ctx context.Context) error {
	m, err := s.largeArchive(ctx)
	if err != nil {
		return err
	}
	old, err := readRaw(s.loads[m.load])
	if err != nil {
		return err
	}
	// Generously 10 ms a round; what is left over is not sent.
	path, err := s.envelopes(ctx, s.fresh(max(fetchLoad*s.fetches/100, 4*fetchLoad), 1000))
	if err != nil {
		return err
	}
	raws, err := readRaw(path)
	if err != nil {
		return err
	}
	load, err := packets(raws, int(fetchLoad*fetchTick/time.Second))
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, m.dir, "--mailserver")
	if err != nil {
		return err
	}
	defer n.stop()
	source, err := dial(ctx, n.self)
	if err != nil {
		return n.explain(err)
	}
	defer source.close()

	stop := make(chan struct{})
	flooded := make(chan error, 1)
	sent := 0
	go func() { flooded <- drip(source, load, fetchTick, stop, func(int) { sent++ }) }()
	began := time.Now()

	choice := rand.New(rand.NewPCG(uint64(s.seed), 1))
	var fetches, pings []float64
	err = func() error {
		var a *asker
		for i := range s.fetches {
			if i%fetchesPerLink == 0 {
				if a != nil {
					a.close()
				}
				if a, err = newAsker(ctx, n.self); err != nil {
					return n.explain(err)
				}
				defer a.close()
			}
			hashes := make([]common.Hash, fetchedHashes)
			for i := range hashes {
				hashes[i] = crypto.Keccak256Hash(old[choice.IntN(len(old))])
			}
			took, err := a.fetch(ctx, hashes)
			if err != nil {
				return n.explain(err)
			}
			fetches = append(fetches, milliseconds(took))
			if took, err = a.ping(ctx); err != nil {
				return n.explain(err)
			}
			pings = append(pings, milliseconds(took))
		}
		return nil
	}()
	close(stop)
	lasted := time.Since(began)
	if e := <-flooded; err == nil && e != nil {
		err = n.explain(e)
	}
	if err != nil {
		return err
	}
	count := min(sent*len(raws)/len(load), len(raws))
	if err := n.await(ctx, archivedTotal, float64(count)); err != nil {
		return err
	}
	s.report.add("hash_fetch_vs_ping", quantile(fetches, 0.99)/quantile(pings, 0.99),
		detail{"hash_fetch_p99", quantile(fetches, 0.99), "ms"}, detail{"hash_fetch_p50", median(fetches), "ms"},
		detail{"ping_p99", quantile(pings, 0.99), "ms"}, detail{"ping_p50", median(pings), "ms"},
		detail{"hash_fetch_load", float64(count) / lasted.Seconds(), "envelopes/s"})
	return nil
}

// fetch requests envelopes by hash and times until the end mark, by which all of
// them must have arrived.
func (a *asker) fetch(ctx context.Context, hashes []common.Hash) (time.Duration, error) {
	packet, err := a.seal(ctx, mailwire.Request{Form: mailwire.List, Hashes: hashes, Batch: true})
	if err != nil {
		return 0, err
	}
	done := make(chan struct{}, 1)
	got := 0
	var refused mailwire.Refusal
	a.handle(func(code uint64, payload []byte) {
		switch code {
		case whisper.DirectPacket:
			got += len(direct(payload))
		case whisper.RequestCompletePacket:
			if content, _, err := rlp.SplitString(payload); err == nil {
				end, _ := mailwire.DecodeComplete(content)
				refused = end.Refusal
			}
			done <- struct{}{}
		}
	})
	start := time.Now()
	if err := a.send(whisper.RequestPacket, packet); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, fmt.Errorf("no answer to a fetch of %d hashes in 30 s", len(hashes)))
	defer cancel()
	if err := a.wait(ctx, done); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if refused != "" {
		return 0, fmt.Errorf("fetch refused: %q", string(refused))
	}
	if got != len(hashes) {
		return 0, fmt.Errorf("%d envelopes came for %d hashes", got, len(hashes))
	}
	return took, nil
}

// drip sends one packet each tick until there are no more, or stop is closed.
func drip(l *link, load [][]byte, tick time.Duration, stop <-chan struct{}, sent func(int)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start := time.Now()
	for i := 0; i < len(load); {
		select {
		case <-ticker.C:
		case <-stop:
			return nil
		}
		// A late tick is made up for.
		for due := int(time.Since(start) / tick); i < len(load) && i < due; i++ {
			sent(i)
			if err := l.send(whisper.MessagesPacket, load[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
