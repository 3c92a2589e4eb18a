package pushserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

// eciesBytes is what encryption adds to a plaintext of a size class.
const eciesBytes = 113

// sized sends a request and returns the reply, the size class of its envelope, and how
// many bytes of the archive came before it.
func (p *phone) sized(req pushwire.Request, env *whisper.Envelope) (rep pushwire.Reply, class, mail int) {
	p.t.Helper()
	p.mu.Lock()
	delete(p.sent, p.peer)
	p.mu.Unlock()
	p.ext.HandleRequest(p.peer, env.Raw())
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, env := range p.sent[p.peer] {
		if env.Topic != pushwire.Topic() {
			mail += len(env.Raw())
			continue
		}
		r, err := pushwire.OpenReply(env, p.key, &p.cfg.PushKey.PublicKey)
		require.NoError(p.t, err)
		if _, ring := r.Body.(*pushwire.Ring); ring {
			continue
		}
		require.Zero(p.t, class, "one reply")
		rep, class = r, len(env.Data)-eciesBytes
	}
	require.Equal(p.t, req.ID, rep.ID)
	require.Contains(p.t, pushwire.SizeClasses[:], class, "every reply is of a class")
	return rep, class, mail
}

// sizes has each kind of request answered, and notes of which class the answer was.
type sizes map[string]int

func (s sizes) ask(p *phone, what string, want pushwire.Code, body pushwire.RequestBody) pushwire.Reply {
	p.t.Helper()
	rep, class, mail := s.fetch(p, what, want, body)
	require.Zero(p.t, mail, what)
	s[what] = class
	return rep
}

func (s sizes) fetch(p *phone, what string, want pushwire.Code, body pushwire.RequestBody) (pushwire.Reply, int, int) {
	p.t.Helper()
	req := pushwire.NewRequest(body, time.Now())
	env, err := pushwire.SealRequest(context.Background(), req, p.key, &p.cfg.PushKey.PublicKey, 0)
	require.NoError(p.t, err)
	rep, class, mail := p.sized(req, env)
	require.Equal(p.t, want.String(), rep.Code.String(), "%s: %s", what, rep.Text)
	s[what] = class
	return rep, class, mail
}

// widest are the most routes that a registration has, with names as long as any.
func widest(p *phone, providers []pushext.Provider) (routes []pushwire.Route) {
	for _, provider := range providers {
		routes = append(routes, pushwire.Route{Provider: provider.Name(), Address: []byte(p.token)})
	}
	return routes
}

// An observer of the link sees the size class of an answer, and no more. Whether a
// request was granted or refused, and why; whether it was a registration, a proof, a
// receipt, a notification or a status request; how many routes and, up to some eighty,
// how many channels there are: none of it shows. What docs/privacy.md says does show is
// asserted here too, so that the page stays true.
func TestLinkObserverOfReplies(t *testing.T) {
	const small, medium, large = 1 << 10, 4 << 10, 16 << 10
	var names []pushext.Provider
	for i := range pushwire.MaxRoutes {
		name := fmt.Sprint(i) + strings.Repeat("n", pushwire.MaxProviderName-1)
		names = append(names, &postbox{name: name, dead: make(map[string]bool)})
	}
	bedTest(t, Limits{}, func(b *bed) {
		s := sizes{}
		bob, eve := b.phone("bob"), b.phone("eve")

		// Before there is a registration everything is refused.
		s.ask(eve, "status, not registered", pushwire.NotRegistered, &pushwire.Status{})
		s.ask(eve, "confirm, not registered", pushwire.NotRegistered, &pushwire.Confirm{})
		s.ask(eve, "channels, not registered", pushwire.NotRegistered, &pushwire.Channels{Version: 9})
		s.ask(eve, "unregister, not registered", pushwire.NotRegistered, &pushwire.Unregister{Version: 9})
		s.ask(eve, "fetch, not registered", pushwire.NotRegistered, &pushwire.Fetch{Hashes: []common.Hash{{1}}})
		s.ask(eve, "seen, not registered", pushwire.NotRegistered, &pushwire.Seen{Hashes: []common.Hash{{1}}})
		s.ask(eve, "register, unknown provider", pushwire.UnknownProvider, eve.routed(pushwire.Route{Provider: strings.Repeat("x", pushwire.MaxProviderName), Address: []byte("x")}))
		s.ask(eve, "register, bad address", pushwire.BadAddress, eve.routed(pushwire.Route{Provider: "post", Address: []byte("bad")}))

		// One with a route and a channel, one with as many routes as there may be.
		var codes [][pushwire.CodeSize]byte
		one := bob.registration(topicA)
		one.Preferences = pushwire.Preferences{Root: make([]byte, pushwire.RootSize), Handle: make([]byte, pushwire.HandleSize)}
		s.ask(bob, "register, one route", pushwire.OK, one)
		codes = append(codes, bob.code())
		s.ask(bob, "status, waiting", pushwire.OK, &pushwire.Status{})
		s.ask(bob, "fetch, unconfirmed", pushwire.Unconfirmed, &pushwire.Fetch{Hashes: []common.Hash{{1}}})
		s.ask(bob, "confirm, wrong code", pushwire.WrongCode, &pushwire.Confirm{Code: [pushwire.CodeSize]byte{1}})
		s.ask(bob, "confirm", pushwire.OK, &pushwire.Confirm{Code: codes[0]})
		s.ask(bob, "status, one route, one channel", pushwire.OK, &pushwire.Status{})
		wide := b.phone("wide")
		s.ask(wide, "register, four routes", pushwire.OK, wide.routed(widest(wide, names)...))
		s.ask(wide, "status, four routes", pushwire.OK, &pushwire.Status{})

		// Changes, and the versions and times that are refused.
		s.ask(bob, "channels, stale", pushwire.Stale, &pushwire.Channels{Version: bob.version})
		s.ask(bob, "unregister, stale", pushwire.Stale, &pushwire.Unregister{Version: bob.version})
		late := pushwire.NewRequest(&pushwire.Status{}, time.Now().Add(-time.Hour))
		env, err := pushwire.SealRequest(t.Context(), late, bob.key, &b.cfg.PushKey.PublicKey, 0)
		require.NoError(t, err)
		rep, class, _ := bob.sized(late, env)
		require.Equal(t, pushwire.Clock, rep.Code)
		s["clock"] = class
		twice := pushwire.NewRequest(&pushwire.Status{}, time.Now())
		env, err = pushwire.SealRequest(t.Context(), twice, bob.key, &b.cfg.PushKey.PublicKey, 0)
		require.NoError(t, err)
		bob.sized(twice, env)
		rep, class, _ = bob.sized(twice, env)
		require.Equal(t, pushwire.Replayed, rep.Code)
		s["replayed"] = class

		// Notifications: to somebody, to nobody, and from a holder who was revoked.
		notify := func(handle byte) *pushwire.Notify {
			return pushwire.NewNotify(pushwire.Capability(one.Preferences.Root, "eve"), [pushwire.HandleSize]byte{handle}, "eve", common.Hash{1}, pushwire.NotifyMessage, b.server())
		}
		s.ask(eve, "notify", pushwire.OK, notify(0))
		s.ask(eve, "notify, nobody", pushwire.OK, notify(7))
		bob.version++
		s.ask(bob, "channels, a holder revoked", pushwire.OK, &pushwire.Channels{Version: bob.version, Revoked: []string{"eve"}})
		s.ask(eve, "notify, revoked", pushwire.OK, notify(0))

		// What is fetched: the reply is as long whether the envelopes are there or not.
		var hashes []common.Hash
		for range 26 {
			hashes = append(hashes, b.envelope(topicB).Hash())
		}
		_, _, mail := s.fetch(bob, "fetch, one", pushwire.OK, &pushwire.Fetch{Hashes: hashes[:1]})
		require.NotZero(t, mail)
		_, class, more := s.fetch(bob, "fetch, 26", pushwire.OK, &pushwire.Fetch{Hashes: hashes})
		require.InDelta(t, 26*mail, more, 26*2, "the envelopes themselves are as long as they are")
		none := make([]common.Hash, 26)
		for i := range none {
			none[i] = memlog.Hash(uint64(i) + 1000)
		}
		s.ask(bob, "fetch, none asked for", pushwire.OK, &pushwire.Fetch{})
		s.ask(bob, "fetch, one that is missing", pushwire.OK, &pushwire.Fetch{Hashes: none[:1]})
		s.ask(bob, "fetch, 26 that are missing", pushwire.OK, &pushwire.Fetch{Hashes: none})
		require.Equal(t, class, s["fetch, 26 that are missing"])
		s.ask(bob, "seen, 26", pushwire.OK, &pushwire.Seen{Hashes: hashes})
		s.ask(bob, "seen, none", pushwire.OK, &pushwire.Seen{})

		// A flood.
		for range 200 {
			eve.throw(&pushwire.Status{})
		}
		synctest.Wait()
		b.mu.Lock()
		busy := 0
		for _, env := range b.sent[eve.peer] {
			if rep, err := pushwire.OpenReply(env, eve.key, &b.cfg.PushKey.PublicKey); err == nil && rep.Code == pushwire.Busy {
				busy++
				require.Equal(t, small, len(env.Data)-eciesBytes)
			}
		}
		b.mu.Unlock()
		require.Positive(t, busy)

		for what, class := range s {
			require.Equal(t, small, class, what)
		}
		t.Logf("%d answers and refusals of 8 kinds of requests: all are of the class of %d bytes", len(s), small)

		// What does show: a status names the channels and the revoked holders, as the
		// request did that set them, and a Fetch of more than 26 hashes names those.
		many := sizes{}
		for _, n := range []int{79, 400, 999} {
			bob.version++
			many.ask(bob, fmt.Sprintf("channels, %d", n+1), pushwire.OK, &pushwire.Channels{Version: bob.version, Channels: manyChannels(n, 0)})
			many.ask(bob, fmt.Sprintf("status, %d channels", n+1), pushwire.OK, &pushwire.Status{})
		}
		carol := b.phone("carol")
		carol.join(carol.registration(topicA))
		for i := range 4 {
			holders := make([]string, pushwire.MaxRevoked)
			for j := range holders {
				holders[j] = fmt.Sprintf("%0*d", pushwire.MaxHolder, 100*i+j)
			}
			carol.version++
			many.ask(carol, fmt.Sprintf("channels, %d times 64 revoked", i+1), pushwire.OK, &pushwire.Channels{Version: carol.version, Revoked: holders})
		}
		many.ask(carol, "status, 256 revoked", pushwire.OK, &pushwire.Status{})
		for i := range 64 - 26 {
			none = append(none, memlog.Hash(uint64(i)+2000))
		}
		many.ask(bob, "fetch, 27 that are missing", pushwire.OK, &pushwire.Fetch{Hashes: none[:27]})
		many.ask(bob, "fetch, 64 that are missing", pushwire.OK, &pushwire.Fetch{Hashes: none})
		many.ask(bob, "seen, 64", pushwire.OK, &pushwire.Seen{Hashes: none})
		want := sizes{
			"status, 80 channels": small, "status, 401 channels": medium, "status, 1000 channels": large,
			"fetch, 27 that are missing": medium, "status, 256 revoked": pushwire.MaxPlaintext, "fetch, 64 that are missing": medium,
		}
		for what, class := range many {
			expected, listed := want[what]
			if !listed {
				expected = small // whatever it changes or acknowledges
			}
			require.Equal(t, expected, class, what)
		}
	}, func(c *Config) { c.Providers = append(c.Providers, names...) })
}

// A ring over the link is no answer, and is longer than most: all are of one class,
// whatever they say.
func TestLinkObserverOfRings(t *testing.T) {
	linkTest(t, func(b *bed) {
		bob, tablet := b.phone("bob"), b.phone("bob's tablet")
		for _, p := range []*phone{bob, tablet} {
			g := p.registration(topicA)
			g.Routes, g.Group = []pushwire.Route{p.directRoute()}, []byte("the secret of a group")
			require.Equal(t, pushwire.OK, p.ask(g).Code)
		}
		var classes []int
		take := func(kind pushwire.Kind) (all int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, p := range []*phone{bob, tablet} {
				b.sent[p.peer] = slices.DeleteFunc(b.sent[p.peer], func(env *whisper.Envelope) bool {
					rep, err := pushwire.OpenReply(env, p.key, &b.cfg.PushKey.PublicKey)
					if err != nil {
						return true // mail
					}
					ring, ok := rep.Body.(*pushwire.Ring)
					if !ok {
						return true
					}
					payload, err := pushwire.OpenPayload(ring.Body, p.private)
					require.NoError(t, err)
					require.Equal(t, kind, payload.Kind)
					classes, all = append(classes, len(env.Data)-eciesBytes), all+1
					return true
				})
			}
			return all
		}
		first := b.envelope(topicA)
		require.Equal(t, 2, take(pushwire.Messages), "for one envelope")
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Seen{Hashes: []common.Hash{first.Hash()}}).Code)
		synctest.Wait()
		require.Equal(t, 1, take(pushwire.Dismiss), "read elsewhere")
		for range 30 {
			b.envelope(topicA)
		}
		time.Sleep(10 * time.Second)
		require.NotZero(t, take(pushwire.Messages), "for many")
		require.Greater(t, len(classes), 3)
		for _, class := range classes {
			require.Equal(t, 4<<10, class)
		}
	})
}
