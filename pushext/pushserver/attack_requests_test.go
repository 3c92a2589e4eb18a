package pushserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// answered has a phone ask, and returns how long its answer takes.
func (p *phone) answered(body pushwire.RequestBody) (*pushwire.Reply, time.Duration) {
	p.t.Helper()
	start := time.Now()
	p.throw(body)
	for {
		synctest.Wait()
		if rep := p.reply(); rep != nil {
			return rep, time.Since(start)
		}
		require.Less(p.t, time.Since(start), 10*time.Minute, "no answer")
		time.Sleep(10 * time.Millisecond)
	}
}

// Peers that are not registered ask for their status and do not read. Somebody else
// registers, proves an address and fetches, each time within two seconds.
func TestAttackPeersThatDoNotRead(t *testing.T) {
	const limit = 2 * time.Second
	for _, c := range []struct{ peers, networks int }{{4, 4}, {40, 1}, {200, 1}, {200, 10}, {400, 400}} {
		t.Run(fmt.Sprintf("%d peers of %d networks", c.peers, c.networks), func(t *testing.T) {
			bedTest(t, Limits{}, func(b *bed) {
				var crowd []*phone
				for i := range c.peers {
					a := b.phone(fmt.Sprint("stranger ", i))
					b.slow[a.peer], b.networks[a.peer] = deaf, whisper.Source(fmt.Sprint(i%c.networks))
					crowd = append(crowd, a)
				}
				worst := time.Duration(0)
				var requests []*whisper.Envelope
				for _, a := range crowd {
					env, err := pushwire.SealRequest(t.Context(), pushwire.NewRequest(&pushwire.Status{}, time.Now()), a.key, &b.cfg.PushKey.PublicKey, 0)
					require.NoError(t, err)
					requests = append(requests, env)
				}
				flood := func() {
					for range 10 { // the same again is answered too
						for i, a := range crowd {
							b.ext.HandleEnvelope(a.peer, requests[i])
						}
					}
				}
				honest := b.phone("honest")
				within := func(body pushwire.RequestBody) {
					t.Helper()
					flood()
					rep, took := honest.answered(body)
					require.Equal(t, pushwire.OK, rep.Code, rep.Text)
					require.LessOrEqual(t, took, limit)
					worst = max(worst, took)
				}
				within(honest.registration(topicA))
				within(&pushwire.Confirm{Code: honest.code()})
				for range 3 {
					env := b.envelope(topicA)
					within(&pushwire.Fetch{Hashes: hashesOf(env)})
				}
				t.Logf("the slowest answer came after %v", worst)
			})
		})
	}
}

func hashesOf(envs ...*whisper.Envelope) (hashes []common.Hash) {
	for _, env := range envs {
		hashes = append(hashes, env.Hash())
	}
	return hashes
}

// Many registered devices fetch and do not read. Another fetches, within two seconds,
// and what they did not take is rung for again.
func TestAttackDevicesThatDoNotRead(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		honest := b.phone("honest")
		honest.join(honest.registration(topicA))
		env := b.envelope(topicA)
		var crowd []*phone
		for i := range 100 {
			a := b.phone(fmt.Sprint("slow ", i))
			b.networks[a.peer] = whisper.Source(fmt.Sprint(i % 25))
			a.join(a.registration(topicB))
			crowd = append(crowd, a)
		}
		unread := b.envelope(topicB)
		for range 5 {
			for _, a := range crowd {
				b.mu.Lock()
				b.slow[a.peer] = deaf
				b.mu.Unlock()
				a.throw(&pushwire.Fetch{Hashes: hashesOf(unread)})
			}
			rep, took := honest.answered(&pushwire.Fetch{Hashes: hashesOf(env)})
			require.Equal(t, hashesOf(env), rep.Body.(*pushwire.FetchReply).Sent)
			require.LessOrEqual(t, took, 2*time.Second)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for _, a := range crowd {
			a.payloads()
			b.mu.Lock()
			b.slow[a.peer] = 0
			b.mu.Unlock()
		}
		b.envelope(topicB)
		for _, a := range crowd[:10] {
			got := a.payloads()
			require.Len(t, got, 1)
			require.Contains(t, got[0].Hashes, unread.Hash())
		}
	})
}

// A link that takes seconds for each envelope gets them all the same.
func TestSlowFetch(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		var envs []*whisper.Envelope
		for range 20 {
			envs = append(envs, b.envelope(topicA))
		}
		b.mu.Lock()
		b.slow[bob.peer] = 5 * time.Second
		b.mu.Unlock()
		bob.throw(&pushwire.Fetch{Hashes: hashesOf(envs...)})
		time.Sleep(21*5*time.Second + time.Second)
		synctest.Wait()
		require.Equal(t, &pushwire.FetchReply{Sent: hashesOf(envs...)}, bob.reply().Body)
		require.Zero(t, b.metric("requests_stalled"))

		// One that takes longer than two minutes in all gets a part, and is told nothing.
		b.mu.Lock()
		b.sent[bob.peer], b.slow[bob.peer] = nil, 14*time.Second
		b.mu.Unlock()
		bob.throw(&pushwire.Fetch{Hashes: hashesOf(envs...)})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Len(t, b.sent[bob.peer], 8)
		require.Equal(t, envs[7].Hash(), b.sent[bob.peer][7].Hash())
	})
}

// notifier is a registration that is rung by Notify alone, and how to ring it.
type notifier struct {
	*phone
	root   []byte
	handle [pushwire.HandleSize]byte
}

func (b *bed) notifier(name string) *notifier {
	n := &notifier{phone: b.phone(name)}
	sum := sha256.Sum256([]byte(name))
	n.root, n.handle = sum[:], [pushwire.HandleSize]byte(sum[:])
	g := n.registration()
	g.Preferences = pushwire.Preferences{Root: n.root, Handle: n.handle[:]}
	n.join(g)
	return n
}

// by is the request of a holder to ring the registration for a message.
func (n *notifier) by(holder string, hash common.Hash) *pushwire.Notify {
	return pushwire.NewNotify(pushwire.Capability(n.root, holder), n.handle, holder, hash, pushwire.NotifyMessage, n.server())
}

// fault is what panics, when it is to.
type fault struct{ archive, link atomic.Bool }

type faultyArchive struct {
	Envelopes
	*fault
}

func (f faultyArchive) ByHash(ctx context.Context, hashes []common.Hash) ([]*whisper.Envelope, []common.Hash, error) {
	if f.archive.Load() {
		panic(canary)
	}
	return f.Envelopes.ByHash(ctx, hashes)
}

type faultyLink struct {
	Sender
	*fault
}

func (f faultyLink) SendDirect(ctx context.Context, peer enode.ID, envs ...*whisper.Envelope) error {
	if f.link.Load() {
		panic(canary)
	}
	return f.Sender.SendDirect(ctx, peer, envs...)
}

const canary = "CANARY-of-a-request"

// A panic anywhere behind a request costs that request, is counted, and does not
// tell what was asked: while it is judged, after its reply, or later.
func TestAttackPanicBehindARequest(t *testing.T) {
	f := new(fault)
	bedTest(t, Limits{}, func(b *bed) {
		bob, alice := b.notifier("bob"), b.phone("alice")
		letter := b.letter(topicB)
		require.Equal(t, pushwire.OK, alice.ask(bob.by("alice", letter.Hash())).Code)

		f.archive.Store(true)
		time.Sleep(5 * time.Second)
		require.EqualValues(t, 1, b.metric("request_panics_total"), "once: it does not wait any more")

		require.Equal(t, pushwire.OK, alice.ask(bob.by("alice", letter.Hash())).Code)
		require.EqualValues(t, 2, b.metric("request_panics_total"), "after the reply")
		bob.refused(&pushwire.Fetch{Hashes: hashesOf(letter)}, pushwire.Internal)
		require.EqualValues(t, 3, b.metric("request_panics_total"))
		f.link.Store(true)
		bob.throw(&pushwire.Status{})
		synctest.Wait()
		require.EqualValues(t, 4, b.metric("request_panics_total"), "while it is sent")
		f.link.Store(false)
		f.archive.Store(false)

		b.archive.take(letter)
		require.Equal(t, pushwire.OK, alice.ask(bob.by("alice", letter.Hash())).Code)
		time.Sleep(time.Second)
		require.Len(t, bob.payloads(), 1)
		require.NotContains(t, b.out.String(), canary)
		require.Contains(t, b.out.String(), "panicked")
	}, func(cfg *Config) {
		cfg.Envelopes, cfg.Sender = faultyArchive{cfg.Envelopes, f}, faultyLink{cfg.Sender, f}
	})
}

// A request tells the node what its link is worth: nothing while it is refused, that
// it is of use once it is granted, and more once its registration proved an address.
func TestWhatARequestProves(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.refused(&pushwire.Status{}, pushwire.NotRegistered)
		bob.refused(&pushwire.Fetch{}, pushwire.NotRegistered)
		require.Zero(t, b.used[bob.peer]+b.knows[bob.peer])
		g := bob.registration(topicA)
		require.Equal(t, pushwire.OK, bob.ask(g).Code)
		bob.status()
		require.Equal(t, 2, b.used[bob.peer])
		require.Zero(t, b.knows[bob.peer])
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Confirm{Code: bob.code()}).Code)
		bob.refused(&pushwire.Channels{Version: bob.version}, pushwire.Stale)
		require.Equal(t, 2, b.used[bob.peer])
		require.Equal(t, 2, b.knows[bob.peer])
	})
}

// A device that sends more requests than there is room for is told so, and when to come
// back.
func TestRefusedInWords(t *testing.T) {
	bedTest(t, Limits{Workers: 1}, func(b *bed) {
		carol, bob := b.phone("carol"), b.phone("bob")
		b.slow[carol.peer] = deaf
		carol.throw(&pushwire.Status{}) // she has the only turn, for a moment
		synctest.Wait()
		for range 30 {
			bob.throw(&pushwire.Status{})
		}
		time.Sleep(time.Second)
		busy := 0
		for rep := bob.reply(); rep != nil; rep = bob.reply() {
			if rep.Code == pushwire.Busy {
				require.Equal(t, "your earlier requests are still being answered, come back in 15s", rep.Text)
				busy++
			}
		}
		require.Positive(t, busy)
		total := b.metric("requests_dropped_total", "reason", "queue") +
			b.metric("requests_total", "kind", "status", "code", "busy") + b.metric("requests_total", "kind", "status", "code", "not_registered")
		require.EqualValues(t, 30+1, total, "each is answered, refused or counted")
	})
}
