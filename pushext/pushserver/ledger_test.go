package pushserver

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext"
	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushwire"
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
		}
		s.mu.Unlock()
		return fn(entries)
	})
}

// witness is what a device keeps of ledgers, and what it knows of the archive.
type witness struct {
	*phone
	topics []whisper.Topic
	heads  []witnessed
}

// witnessed is a head, and the hashes that lead to it from the head before, or from the
// beginning.
type witnessed struct {
	secret [pushwire.LedgerSecretSize]byte
	evidence.Head
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
	next := witnessed{secret: l.Secret, Head: evidence.HeadOf(l), whole: l.Count-count <= uint64(len(l.Told))}
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
			PushKey: w.evidenceKey(), Ledger: pushwire.LedgerID(secret), Leaves: pushwire.TopicLeaves(secret, w.topics),
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
		bob := &witness{phone: b.phone("bob"), topics: []whisper.Topic{topicA}}
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
