package pushserver

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushwire"
)

// wires is a Linked provider that believes what it hears.
type wires struct {
	mu    sync.Mutex
	links map[string]pushext.Link
	rung  int
}

func (*wires) Name() string                { return "direct" }
func (*wires) Check(pushext.Address) error { return nil }
func (w *wires) Heard(a pushext.Address, l pushext.Link) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh := w.links[a.Token] != l
	w.links[a.Token] = l
	return fresh
}

func (w *wires) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	w.mu.Lock()
	link := w.links[n.Address.Token]
	w.mu.Unlock()
	if link == nil || !link.Up() || link.Ring(ctx, n.Body) != nil {
		return pushext.Verdict{Class: pushext.Absent, Reason: "direct not connected"}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rung++
	return pushext.Verdict{Class: pushext.Delivered}
}

func linkTest(t *testing.T, test func(b *bed)) {
	bedTest(t, Limits{}, test, func(c *Config) {
		c.Providers = append(c.Providers, &wires{links: make(map[string]pushext.Link)})
	})
}

func (p *phone) directRoute() pushwire.Route {
	return pushwire.Route{Provider: "direct", Address: crypto.CompressPubkey(&p.key.PublicKey)}
}

// rings takes what came over the phone's link without being asked for.
func (p *phone) rings() []pushwire.Payload {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []pushwire.Payload
	for _, env := range p.sent[p.peer] {
		rep, err := pushwire.OpenReply(env, p.key, &p.cfg.PushKey.PublicKey)
		if err != nil {
			continue // a fetched envelope
		}
		ring, ok := rep.Body.(*pushwire.Ring)
		if !ok {
			continue
		}
		require.Zero(p.t, rep.ID)
		require.Len(p.t, ring.Body, pushwire.BodySize)
		payload, err := pushwire.OpenPayload(ring.Body, p.private)
		require.NoError(p.t, err)
		all = append(all, payload)
	}
	p.sent[p.peer] = nil
	return all
}

// plug gives the phone a new connection, or none.
func (p *phone) plug(peer byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unplugged[p.peer] = true
	p.peer = enode.ID{peer}
	p.unplugged[p.peer] = peer == 0
}

func TestLinkIsRungFirst(t *testing.T) {
	linkTest(t, func(b *bed) {
		p := b.phone("token")
		g := p.registration(topicA)
		g.Routes = append([]pushwire.Route{p.directRoute()}, g.Routes...)
		p.join(g)
		p.rings()

		// It is there: only its link is rung, and the fetch ends it.
		env := b.envelope(topicA)
		rings := p.rings()
		require.Len(t, rings, 1)
		require.Equal(t, pushwire.Messages, rings[0].Kind)
		require.Equal(t, env.Hash(), rings[0].Hashes[0])
		require.Equal(t, pushwire.OK, p.ask(&pushwire.Fetch{Hashes: rings[0].Hashes}).Code)
		time.Sleep(time.Minute)
		require.Empty(t, p.payloads(), "the push service learns nothing at all")

		// It is there and does not fetch: the next route, with the same number.
		b.envelope(topicA)
		rings = p.rings()
		require.Len(t, rings, 1)
		time.Sleep(5*time.Second - time.Millisecond)
		require.Empty(t, p.payloads())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Equal(t, rings, p.payloads())
		time.Sleep(time.Hour)
		require.Empty(t, p.rings())
		require.Empty(t, p.payloads())

		// It is not there: the next route at once.
		p.plug(0)
		b.envelope(topicA)
		require.Len(t, p.payloads(), 1)

		// It is back, and is rung for what it missed, whatever it asks.
		p.plug(7)
		require.Equal(t, pushwire.OK, p.ask(&pushwire.Status{}).Code)
		rings = p.rings()
		require.Len(t, rings, 1)
		require.Len(t, rings[0].Hashes, 2)
		require.Equal(t, pushwire.OK, p.ask(&pushwire.Fetch{Hashes: rings[0].Hashes}).Code)
		time.Sleep(time.Hour)
		require.Empty(t, p.payloads())
		p.ask(&pushwire.Status{})
		require.Empty(t, p.rings(), "the same link is no news")
	})
}

// A device that has only its link is registered at once, and what it misses
// waits for it.
func TestLinkAlone(t *testing.T) {
	linkTest(t, func(b *bed) {
		p := b.phone("none")
		g := p.registration(topicA)
		g.Routes, g.Lifetime = []pushwire.Route{p.directRoute()}, 24*3600
		rep := p.ask(g)
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, pushwire.Active, rep.State)
		require.False(t, rep.Body.(*pushwire.RegisterReply).Challenged)
		b.envelope(topicA)
		require.Len(t, p.rings(), 1)
		p.plug(0)
		time.Sleep(time.Hour)
		b.envelope(topicA)
		time.Sleep(10*time.Hour + time.Minute) // not with the hourly attempt
		p.plug(9)
		require.Equal(t, pushwire.Active, p.ask(&pushwire.Status{}).State)
		rings := p.rings()
		require.Len(t, rings, 1)
		require.Len(t, rings[0].Hashes, 2)

		// After a restart of the server it has to show itself again.
		b.restart()
		b.cfg.Providers[2].(*wires).links = make(map[string]pushext.Link)
		b.envelope(topicA)
		require.Empty(t, p.rings())
		require.Equal(t, pushwire.Active, p.ask(&pushwire.Status{}).State)
		rings = p.rings()
		require.Len(t, rings, 1)
		require.Len(t, rings[0].Hashes, 3)

		// When its time is over nothing of it is left.
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		require.Equal(t, pushwire.NotRegistered, p.ask(&pushwire.Status{}).Code)
		it := b.ext.store.Scan(outbox.Prefix)
		defer it.Release()
		require.False(t, it.Next())
	})
}

// slowLine is a provider whose attempts take until they are let go, once held.
type slowLine struct {
	pushext.Provider
	mu      sync.Mutex
	hold    chan struct{}    // attempts wait for it; nil: they do not
	verdict *pushext.Verdict // of those
}

func (s *slowLine) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	s.mu.Lock()
	hold, verdict := s.hold, s.verdict
	s.mu.Unlock()
	if hold != nil {
		<-hold
		return *verdict
	}
	return s.Provider.Push(ctx, n)
}

// next lets attempts end with a verdict from here on, each when the function that
// is returned is called.
func (s *slowLine) next(v pushext.Verdict) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold, s.verdict = hold, &v
	return func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		close(hold)
	}
}

// linkedLine is a slowLine that is Linked.
type linkedLine struct{ *slowLine }

func (l linkedLine) Heard(a pushext.Address, link pushext.Link) bool {
	return l.Provider.(pushext.Linked).Heard(a, link)
}

// A device that comes back while something else is going on for it is rung over its
// new link at once, whatever comes of the other.
func TestComesBackWhile(t *testing.T) {
	for name, row := range map[string]struct {
		verdict pushext.Verdict
		second  bool // of the route through the push service, to which the link was no way; else of the old link's ring
		busy    bool // it comes back after that, while the verdict is waited out
	}{
		"its old link's ring fails":                     {verdict: pushext.Verdict{Class: pushext.Absent, Reason: "direct link broke"}},
		"its old link's ring times out":                 {verdict: pushext.Verdict{Class: pushext.Retry, Reason: "direct timeout"}},
		"its old link's ring is written and goes lost":  {verdict: pushext.Verdict{Class: pushext.Delivered, Reason: "direct"}},
		"a push is accepted":                            {verdict: pushext.Verdict{Class: pushext.Delivered}, second: true},
		"a push fails":                                  {verdict: pushext.Verdict{Class: pushext.Retry}, second: true},
		"a push is to be tried later":                   {verdict: pushext.Verdict{Class: pushext.RetryAt}, second: true},
		"the push service is to be tried later":         {verdict: pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeProvider}, second: true},
		"the push service refuses the server":           {verdict: pushext.Verdict{Class: pushext.ProviderBroken}, second: true},
		"a push is bad":                                 {verdict: pushext.Verdict{Class: pushext.MessageBad}, second: true},
		"an address is called dead":                     {verdict: pushext.Verdict{Class: pushext.TokenDead}, second: true},
		"a push waits":                                  {verdict: pushext.Verdict{Class: pushext.Retry}, second: true, busy: true},
		"a push waits for its time":                     {verdict: pushext.Verdict{Class: pushext.RetryAt}, second: true, busy: true},
		"the push service is paused":                    {verdict: pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeProvider}, second: true, busy: true},
		"the push service is paused for its refusal":    {verdict: pushext.Verdict{Class: pushext.ProviderBroken}, second: true, busy: true},
		"an address that is called dead is to be tried": {verdict: pushext.Verdict{Class: pushext.TokenDead}, second: true, busy: true},
	} {
		t.Run(name, func(t *testing.T) {
			wire := linkedLine{&slowLine{Provider: &wires{links: make(map[string]pushext.Link)}}}
			post := &postbox{name: "slow"}
			box := &slowLine{Provider: post}
			bedTest(t, Limits{}, func(b *bed) {
				p := b.phone("token")
				g := p.routed(p.directRoute(), pushwire.Route{Provider: "slow", Address: []byte("token")})
				if !row.second {
					g.Routes = g.Routes[:1]
				}
				g.Channels = []pushwire.Channel{{Topic: topicA}}
				rep := p.ask(g)
				require.Equal(t, pushwire.OK, rep.Code, rep.Text)
				if row.second {
					payload, err := pushwire.OpenPayload(post.take("token")[0].Body, p.private)
					require.NoError(t, err)
					require.Equal(t, pushwire.OK, p.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(payload.Code)}).Code)
				}
				p.rings()
				if row.verdict.Class == pushext.RetryAt {
					row.verdict.At = time.Now().Add(3 * time.Hour)
				}
				row.verdict.Reason = "the verdict"
				line := wire.slowLine
				if row.second {
					line = box
					p.plug(0)
				}
				release := line.next(row.verdict)
				env := b.envelope(topicA)
				if row.busy {
					release()
					synctest.Wait()
				}
				p.plug(9)
				require.Equal(t, pushwire.Active, p.ask(&pushwire.Status{}).State)
				if !row.busy {
					require.Empty(t, p.rings(), "one attempt at a time")
					release()
				}
				synctest.Wait()
				rings := p.rings()
				require.Len(t, rings, 1, "at once")
				if row.verdict.Class != pushext.MessageBad {
					require.Equal(t, env.Hash(), rings[0].Hashes[0])
				}
			}, func(c *Config) { c.Providers = append(c.Providers, wire, box) })
		})
	}
}

// Nobody is rung through another's link: the address is the key that signs.
func TestLinkOfAnother(t *testing.T) {
	linkTest(t, func(b *bed) {
		victim, thief := b.phone("v"), b.phone("t")
		g := victim.registration(topicA)
		g.Routes = []pushwire.Route{victim.directRoute()}
		victim.ask(g)
		g = thief.registration(topicB)
		g.Routes = []pushwire.Route{victim.directRoute()}
		thief.refused(g, pushwire.BadAddress)

		// Nor does a request that was seen before move the link, or one sent by
		// somebody without the key.
		req := pushwire.NewRequest(&pushwire.Status{}, time.Now())
		require.Equal(t, pushwire.OK, victim.send(req).Code)
		env, err := pushwire.SealRequest(t.Context(), req, victim.key, &b.cfg.PushKey.PublicKey, 0)
		require.NoError(t, err)
		b.ext.HandleRequest(thief.peer, env.Raw())
		synctest.Wait()
		b.envelope(topicA)
		require.Len(t, victim.rings(), 1)
	})
}

// Registrations that cost nothing do not keep out those that prove an address.
func TestLinksGiveWay(t *testing.T) {
	bedTest(t, Limits{Unconfirmed: 20, PerSource: 1000, PeerRate: 1e6, PeerBurst: 1e6}, func(b *bed) {
		honest := b.phone("honest")
		honest.join(honest.registration(topicA))
		var last *phone
		for range 100 {
			last = b.phone("x")
			g := last.registration(topicB)
			g.Routes = []pushwire.Route{last.directRoute()}
			require.Equal(t, pushwire.OK, last.ask(g).Code)
		}
		require.LessOrEqual(t, counts(b)[unconfirmed], 20)
		_, channels := honest.status()
		require.Len(t, channels.Channels, 1)
		late := b.phone("late")
		late.join(late.registration(topicA))
		b.envelope(topicA)
		require.Len(t, late.payloads(), 1)
		require.Len(t, honest.payloads(), 1)
	}, func(c *Config) { c.Providers = append(c.Providers, &wires{links: make(map[string]pushext.Link)}) })
}
