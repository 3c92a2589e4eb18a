package pushserver

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/durable/faultstore"
	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext"
	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

var logID = mailwire.LogID{1, 2, 3, 15: 4}

// withLog gives the archive of a bed an identity.
func withLog(c *Config) { c.Log.(*archive).id = logID[:] }

// suppressing is a log in which one envelope is on another topic, so that the server below
// which it is matches it for nobody.
type suppressing struct {
	*archive
	mu     sync.Mutex
	hidden common.Hash
	quiet  map[common.Hash]bool // imported: nobody is to be woken for it
}

func (s *suppressing) hush(h common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet == nil {
		s.quiet = make(map[common.Hash]bool)
	}
	s.quiet[h] = true
}

func (s *suppressing) hide(h common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = h
}

func (s *suppressing) Follow(ctx context.Context, after uint64, fn func([]pushext.Entry) error) error {
	return s.archive.Follow(ctx, after, func(entries []pushext.Entry) error {
		entries = slices.Clone(entries)
		s.mu.Lock()
		for i := range entries {
			if entries[i].Hash == s.hidden {
				entries[i].Topic = whisper.Topic{0xff, 0xff, 0xff, 0xff}
			}
			entries[i].Quiet = s.quiet[entries[i].Hash]
		}
		s.mu.Unlock()
		return fn(entries)
	})
}

// witness is what a device keeps of ledgers.
type witness struct {
	*phone
	heads []witnessed
}

// witnessed is a head, and the hashes that lead to it from the head before, or from the
// beginning.
type witnessed struct {
	secret [pushwire.LedgerSecretSize]byte
	evidence.Head
	topics []whisper.Topic
	whole  bool // the hashes lead to it
	hashes []common.Hash
}

// look asks for a head, and keeps it if there is one.
func (w *witness) look(body pushwire.RequestBody) *pushwire.Ledger {
	w.t.Helper()
	req := pushwire.NewRequest(body, time.Now())
	req.Ledger = new(pushwire.LedgerQuery)
	var last *witnessed
	if n := len(w.heads); n > 0 {
		last = &w.heads[n-1]
		req.Ledger.Secret, req.Ledger.Count = last.secret[:], last.Count
	}
	rep := w.send(req)
	if rep == nil || rep.Ledger == nil {
		return nil
	}
	l := rep.Ledger
	require.True(w.t, l.SignedBy(w.evidenceKey(), pushwire.LedgerID(l.Secret), l.Signature))
	count, value := uint64(0), pushwire.ChainBegin(pushwire.LedgerID(l.Secret))
	if last != nil && last.secret == l.Secret {
		count, value = last.Count, last.Chain
		require.GreaterOrEqual(w.t, l.Count, count, "a head that was signed is not taken back")
		require.GreaterOrEqual(w.t, l.Through, last.Through)
	}
	var topics []whisper.Topic
	for _, some := range [][]whisper.Topic{{topicA}, {topicB}, {topicA, topicB}} {
		if pushwire.LedgerTopics(pushwire.TopicLeaves(l.Secret, some)) == l.Topics {
			topics = some
		}
	}
	require.NotEmpty(w.t, topics, "it is about topics of the phone")
	next := witnessed{secret: l.Secret, topics: topics, Head: evidence.HeadOf(l), whole: l.Count-count <= uint64(len(l.Told))}
	if next.whole {
		next.hashes = slices.Clone(l.Told[uint64(len(l.Told))-(l.Count-count):])
		for _, h := range next.hashes {
			value = pushwire.ChainNext(value, h)
		}
		require.Equal(w.t, l.Chain, value, "the chain goes on from every head that was signed")
	}
	w.heads = append(w.heads, next)
	return l
}

func (w *witness) evidenceKey() []byte {
	server := w.server()
	return server[:]
}

// page is the mailserver's word that envelopes are in the log behind a sequence and not
// behind another.
func (b *bed) page(after, upTo uint64, at time.Time, hashes ...common.Hash) evidence.Page {
	p := &mailwire.Proof{After: after, At: uint64(at.UnixMilli())}
	end := mailwire.Cursor{Seq: upTo, Log: logID}
	s := mailwire.StatementOf(end, p, hashes)
	signature, err := crypto.Sign(s.Digest(), b.cfg.PushKey)
	require.NoError(b.t, err)
	copy(p.Signature[:], signature)
	return evidence.PageOf(end, p, hashes)
}

// accuse makes what a device could show of an envelope, of every two heads of a ledger and
// every head by itself.
func (w *witness) accuse(env *whisper.Envelope, page evidence.Page) (all []*evidence.Evidence) {
	for from := range w.heads {
		secret := w.heads[from].secret
		e := evidence.Evidence{
			PushKey: w.evidenceKey(), Ledger: pushwire.LedgerID(secret), Leaves: pushwire.TopicLeaves(secret, w.heads[from].topics),
			Salt: pushwire.TopicSalt(secret, env.Topic), Page: page, Envelope: env.Raw(),
		}
		before := &w.heads[from].Head
		if from == 0 || w.heads[from-1].secret != secret {
			first := e
			first.Hashes, first.After = w.heads[from].hashes, w.heads[from].Head
			if w.heads[from].whole {
				all = append(all, &first)
			}
		}
		var between []common.Hash
		for to := from + 1; to < len(w.heads) && w.heads[to].secret == secret && w.heads[to].whole; to++ {
			between = append(between, w.heads[to].hashes...)
			next := e
			next.Before, next.Hashes, next.After = before, slices.Clone(between), w.heads[to].Head
			all = append(all, &next)
		}
	}
	return all
}

// A server that suppresses one wake-up is convicted by what it signed, and one that does not
// is not.
func TestWithheldWakeUpIsProved(t *testing.T) {
	log := new(suppressing)
	bedTest(t, Limits{}, func(b *bed) {
		bob := &witness{phone: b.phone("bob")}
		bob.join(bob.registration(topicA))
		require.Nil(t, bob.look(&pushwire.Status{}), "it is begun")
		time.Sleep(time.Second)
		first := bob.look(&pushwire.Status{})
		require.NotNil(t, first)
		require.Zero(t, first.Count)

		told := b.envelope(topicA)
		time.Sleep(time.Second)
		require.Len(t, bob.payloads(), 1)
		require.Equal(t, []common.Hash{told.Hash()}, bob.look(&pushwire.Status{}).Told)

		withheld := b.letter(topicA)
		log.hide(withheld.Hash())
		after := b.archive.Last()
		b.archive.take(withheld)
		time.Sleep(time.Second)
		require.Empty(t, bob.payloads(), "the server below says nothing")
		page := b.page(after, b.archive.Last(), time.Now(), withheld.Hash())
		require.Equal(t, b.archive.Last(), bob.look(&pushwire.Fetch{Received: []common.Hash{withheld.Hash()}}).Through)

		convicted := 0
		for _, e := range bob.accuse(withheld, page) {
			file, err := e.Encode()
			require.NoError(t, err)
			got, err := evidence.Decode(file)
			require.NoError(t, err)
			if err := got.Verify(); err == nil {
				convicted++
			} else {
				require.ErrorIs(t, err, evidence.ErrUnproved)
			}
		}
		require.Positive(t, convicted)
		page = b.page(0, b.archive.Last(), time.Now(), told.Hash())
		for _, e := range bob.accuse(told, page) {
			require.ErrorIs(t, e.Verify(), evidence.ErrUnproved)
		}
	}, withLog, func(c *Config) {
		log.archive = c.Log.(*archive)
		c.Log = log
	})
}

// archived is an envelope, where it is in the log, and what the mailserver has signed of it.
type archived struct {
	*whisper.Envelope
	seq   uint64
	pages []evidence.Page
}

// history is a random history of a server, of which everything that can be signed is signed.
type history struct {
	*bed
	t    *testing.T
	rand *rand.Rand
	bob  *witness
	log  *suppressing

	all  []*archived // ever
	kept []*archived // that are in the log

	copied [][2][]byte // a backup
	upTo   int         // what was in the log then

	cold     *faultstore.Store // a copy of the disk
	coldUpTo int
}

func (h *history) post(t whisper.Topic) *archived { return h.put(h.letter(t)) }

func (h *history) put(env *whisper.Envelope) *archived {
	h.archive.take(env)
	one := &archived{Envelope: env, seq: h.archive.Last()}
	h.all, h.kept = append(h.all, one), append(h.kept, one)
	h.vouch(one)
	return one
}

// vouch has the mailserver sign that an envelope is in the log, alone and with what is
// around it.
func (h *history) vouch(one *archived) {
	after := one.seq - 1 - h.rand.Uint64N(min(one.seq, 5))
	one.pages = append(one.pages, h.page(one.seq-1, h.archive.Last(), time.Now(), one.Hash()), h.page(after, one.seq, time.Now(), one.Hash()))
}

// register has the phone register for both topics, and confirm if it must.
func (h *history) register() {
	g := h.bob.registration(topicA, topicB)
	g.Lifetime = 2 * 3600
	rep := h.bob.ask(g)
	if body, ok := rep.Body.(*pushwire.RegisterReply); !ok || !body.Challenged {
		return
	}
	time.Sleep(time.Second)
	for _, p := range h.bob.payloads() {
		if p.Kind == pushwire.Challenge {
			h.bob.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(p.Code)})
		}
	}
}

// crash goes on from what is on the disk.
func (h *history) crash() {
	if h.cfg.storage == nil { // it is the real one
		h.restart()
		return
	}
	disk := h.disk.Disk().Crash(h.rand).Store("db")
	h.stop()
	h.disk, h.cfg.storage, h.cfg.Registerer = disk, disk, prometheus.NewRegistry()
	h.start()
}

func (h *history) backup() {
	h.copied, h.upTo = nil, len(h.kept)
	require.NoError(h.t, h.ext.Snapshot(func(key, value []byte) error {
		h.copied = append(h.copied, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
		return nil
	}))
}

// restore puts archive and registrations back as they were, and the archive gives its
// sequences once more.
func (h *history) restore() {
	h.stop()
	h.cfg.Dir = filepath.Join(h.t.TempDir(), "push")
	r, err := Restore(h.cfg.Dir, bedKey)
	require.NoError(h.t, err)
	for _, one := range h.copied {
		require.NoError(h.t, r.Put(one[0], one[1]))
	}
	require.NoError(h.t, r.Close(time.Now()))
	h.cut(h.upTo)
	h.copied = nil
	h.cfg.storage, h.cfg.Registerer = nil, prometheus.NewRegistry()
	h.start()
}

// cut puts the archive back as it was with so many envelopes.
func (h *history) cut(upTo int) {
	h.archive.Log = memlog.New()
	h.kept = h.kept[:upTo]
	for _, one := range h.kept {
		h.archive.take(one.Envelope)
	}
}

// freeze copies the disk, and thaw puts the copy back by hand, minutes later.
func (h *history) freeze() {
	if h.cfg.storage != nil {
		h.cold, h.coldUpTo = h.disk.Disk().Crash(h.rand).Store("db"), len(h.kept)
	}
}

func (h *history) thaw() {
	time.Sleep(2 * time.Minute)
	h.stop()
	h.cut(h.coldUpTo)
	h.disk, h.cfg.storage, h.cfg.Registerer = h.cold, h.cold, prometheus.NewRegistry()
	h.cold, h.copied = nil, nil
	h.start()
}

// step does something that may happen to an honest server.
func (h *history) step() {
	bob := h.bob
	anyTopic := func() whisper.Topic { return []whisper.Topic{topicA, topicB, {1}}[h.rand.IntN(3)] }
	switch h.rand.IntN(18) {
	case 0, 1, 2:
		h.post(anyTopic())
	case 3: // more than is told at once
		for range 10 + h.rand.IntN(70) {
			h.post(topicA)
		}
	case 4: // seen before it is archived
		env := h.letter(topicA)
		bob.ask(&pushwire.Seen{Hashes: []common.Hash{env.Hash()}})
		h.put(env)
	case 5: // mined again
		if len(h.kept) > 0 {
			old := h.kept[h.rand.IntN(len(h.kept))]
			h.put(h.mined(old.Envelope, old.Topic))
		}
	case 6: // muted, removed, or back
		bob.version++
		change := pushwire.Channel{Topic: topicB, Mode: pushwire.Mode(h.rand.IntN(4))}
		if change.Mode == pushwire.Every && h.rand.IntN(3) == 0 {
			change.MutedUntil = uint64(time.Now().Add(time.Minute).Unix())
		}
		bob.ask(&pushwire.Channels{Version: bob.version, Channels: []pushwire.Channel{change}})
	case 7:
		if h.rand.IntN(3) == 0 { // elsewhere
			bob.token = fmt.Sprint("bob ", bob.version)
		}
		h.register()
	case 8:
		h.crash()
	case 9:
		h.restart()
	case 10:
		if h.copied == nil {
			h.backup()
		} else if h.rand.IntN(2) == 0 && h.upTo <= len(h.kept) {
			h.restore()
		}
	case 11: // a part of the archive is lost before it is matched
		last := h.archive.Last()
		h.archive.Lose(last+1, last+2, 0, false)
		h.post(topicA)
		h.post(topicA)
		h.post(topicA)
	case 12: // fetched
		if len(h.kept) > 0 {
			bob.ask(&pushwire.Fetch{Hashes: []common.Hash{h.kept[len(h.kept)-1].Hash()}})
		}
	case 13:
		time.Sleep(time.Duration(h.rand.IntN(45)) * time.Minute)
	case 14:
		if len(h.kept) > 0 {
			h.vouch(h.kept[h.rand.IntN(len(h.kept))])
		}
	case 17:
		if h.cold == nil {
			h.freeze()
		} else if h.coldUpTo <= len(h.kept) {
			h.thaw()
		}
	case 16: // imported
		env := h.letter(anyTopic())
		h.log.hush(env.Hash())
		h.put(env)
	case 15: // crashed while it is at it
		for range 3 {
			h.post(topicA)
			time.Sleep(time.Duration(h.rand.IntN(15)) * time.Millisecond)
		}
		bob.look(&pushwire.Status{})
		h.crash()
	}
	time.Sleep(time.Duration(h.rand.IntN(3)) * 15 * time.Millisecond)
	if h.rand.IntN(2) == 0 {
		bob.look(&pushwire.Status{})
	}
}

// verdicts has everything judged that could be shown of anything.
func (h *history) verdicts() (convicted map[common.Hash]bool, covered int) {
	convicted = make(map[common.Hash]bool)
	for _, one := range h.all {
		for _, page := range one.pages {
			for _, e := range h.bob.accuse(one.Envelope, page) {
				from := e.After.Since
				if e.Before != nil {
					from = e.Before.Through
				}
				if page.After >= from && page.UpTo <= e.After.Through && page.At >= e.After.Begun && page.At <= e.After.At {
					covered++
				} else if h.rand.IntN(16) > 0 {
					continue // of the others some will do
				}
				err := e.Verify()
				if err == nil {
					convicted[one.Hash()] = true
				} else {
					require.ErrorIs(h.t, err, evidence.ErrUnproved)
				}
			}
		}
	}
	return convicted, covered
}

// TestHonestServerIsNeverConvicted has random things happen to a server and signs all that
// can be signed: nothing of it convicts. The same history with one wake-up suppressed does.
func TestHonestServerIsNeverConvicted(t *testing.T) {
	covered := 0
	for seed := range uint64(12) {
		log := new(suppressing)
		bedTest(t, Limits{PeerRate: 1e6, PeerBurst: 1e6}, func(b *bed) {
			h := &history{bed: b, t: t, rand: rand.New(rand.NewPCG(seed, 7)), bob: &witness{phone: b.phone("bob")}, log: log}
			h.register()
			for range 40 {
				h.step()
			}
			time.Sleep(time.Second)
			h.bob.look(&pushwire.Status{})
			convicted, n := h.verdicts()
			require.Empty(t, convicted, "seed %d", seed)
			covered += n

			// From here on it suppresses.
			h.bob.token = "the last"
			h.register()
			h.bob.look(&pushwire.Status{})
			time.Sleep(time.Second)
			h.bob.look(&pushwire.Status{})
			env := b.letter(topicA)
			log.hide(env.Hash())
			h.put(env)
			h.post(topicB)
			time.Sleep(time.Second)
			require.NotNil(t, h.bob.look(&pushwire.Status{}))
			convicted, _ = h.verdicts()
			require.Equal(t, map[common.Hash]bool{env.Hash(): true}, convicted, "seed %d", seed)
		}, withLog, func(c *Config) {
			log.archive = c.Log.(*archive)
			c.Log = log
		})
	}
	require.Greater(t, covered, 1000, "heads and answers were about the same envelopes")
}

// A topic with very many listeners is matched beside the log, some of its messages are left
// out where there are too many, and some listeners where there are: nothing of that convicts.
func TestCrowdConvictsNobody(t *testing.T) {
	for _, fanOut := range []int{0, 200} {
		covered := 0
		bedTest(t, Limits{PeerRate: 1e6, PeerBurst: 1e6, PerSource: 1000}, func(b *bed) {
			h := &history{bed: b, t: t, rand: rand.New(rand.NewPCG(uint64(fanOut), 9)), bob: &witness{phone: b.phone("bob")}}
			for i := range 260 {
				p := b.phone(fmt.Sprint("listener ", i))
				require.Equal(t, pushwire.Active, p.ask(p.registration(topicA)).State)
			}
			require.Equal(t, pushwire.Active, h.bob.ask(h.bob.registration(topicA, topicB)).State)
			for round := range 24 {
				for range 1 + h.rand.IntN(40) {
					h.post([]whisper.Topic{topicA, topicA, topicB}[h.rand.IntN(3)])
				}
				time.Sleep(time.Duration(h.rand.IntN(1500)) * time.Millisecond)
				h.bob.look(&pushwire.Status{})
				if round%8 == 7 {
					h.crash()
				}
			}
			time.Sleep(3 * time.Second)
			h.bob.look(&pushwire.Status{})
			var convicted map[common.Hash]bool
			convicted, covered = h.verdicts()
			require.Empty(t, convicted)
		}, withLog, func(c *Config) {
			c.SkipChallenge, c.Delivery.FanOut = []string{"post"}, fanOut
		})
		require.Greater(t, covered, 100)
	}
}
