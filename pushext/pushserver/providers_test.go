package pushserver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// provide goes on with other providers.
func (b *bed) provide(providers ...pushext.Provider) {
	b.t.Helper()
	apply, err := b.ext.Prepare(Settings{Limits: b.cfg.Limits, Delivery: b.cfg.Delivery, Providers: providers})
	require.NoError(b.t, err)
	apply()
	b.cfg.Providers = providers
	synctest.Wait()
}

// at is a registration of this phone through several push services.
func (p *phone) at(providers ...string) *pushwire.Register {
	g := p.registration(topicA)
	g.Routes = nil
	for _, name := range providers {
		g.Routes = append(g.Routes, pushwire.Route{Provider: name, Address: []byte(p.token), Keys: [][]byte{[]byte("key of " + p.token)}})
	}
	return g
}

// took opens what a push service was given for this phone.
func (p *phone) took(post *postbox) (all []pushwire.Payload) {
	p.t.Helper()
	for _, n := range post.take(p.token) {
		payload, err := pushwire.OpenPayload(n.Body, p.private)
		require.NoError(p.t, err)
		all = append(all, payload)
	}
	return all
}

// enrol registers, and confirms at each push service.
func (p *phone) enrol(g *pushwire.Register, posts ...*postbox) {
	p.t.Helper()
	require.Equal(p.t, pushwire.OK, p.ask(g).Code)
	for _, post := range posts {
		sent := p.took(post)
		require.Len(p.t, sent, 1)
		require.Equal(p.t, pushwire.OK, p.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(sent[0].Code)}).Code)
	}
}

// withdrawn counts the matches that ended as their push service was removed.
func (b *bed) withdrawn() float64 {
	return b.metric("outcomes_total", "outcome", "undeliverable", "reason", "provider removed")
}

// A push service is taken out of the settings of a server that runs: what waits for it goes by the next route of its device, once,
// or ends, counted. One that is added is there at once, and one that comes back goes on.
func TestProvidersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{})
		defer b.stop()
		post, other, third := b.post, b.cfg.Providers[1].(*postbox), &postbox{name: "third"}
		one, both := b.phone("one"), b.phone("both")
		one.enrol(one.at("post"), post)
		both.enrol(both.at("post", "other"), post, other)

		// Nothing goes through post, so that something waits.
		require.NoError(t, b.ext.HoldProvider("post"))
		first := b.envelope(topicA)
		require.Empty(t, one.took(post))
		require.Empty(t, both.took(other))
		b.provide(other, third)
		sent := both.took(other)
		require.Len(t, sent, 1, "by the next route, once")
		require.Equal(t, []common.Hash{first.Hash()}, sent[0].Hashes)
		require.Empty(t, one.took(post))
		require.Equal(t, 1.0, b.withdrawn(), "there is no other")
		for _, state := range b.ext.Providers(time.Now()) {
			require.NotEqual(t, "post", state.Name)
			require.Zero(t, state.Queued)
		}
		require.Error(t, b.ext.HoldProvider("post"))

		// What matches later ends likewise, and nobody can register there.
		b.envelope(topicA)
		require.Equal(t, 2.0, b.withdrawn())
		require.Len(t, both.took(other), 1)
		late := b.phone("late")
		late.refused(late.at("post"), pushwire.UnknownProvider)
		fresh := b.phone("fresh")
		fresh.enrol(fresh.at("third"), third)
		b.envelope(topicA)
		require.Len(t, fresh.took(third), 1)
		require.Equal(t, 3.0, b.withdrawn())
		both.took(other)

		// It comes back: still held, as the operator said, and then everybody is woken by it again.
		b.provide(post, other, third)
		again := b.envelope(topicA)
		require.Equal(t, 3.0, b.withdrawn())
		require.Empty(t, one.took(post))
		require.NoError(t, b.ext.ReleaseProvider("post"))
		synctest.Wait()
		sent = one.took(post)
		require.Len(t, sent, 1)
		require.Equal(t, again.Hash(), sent[0].Hashes[0])

		time.Sleep(25*time.Hour + 30*time.Minute) // sweeps, and every match has ended
		require.Zero(t, b.metric("matches_unaccounted"))
		require.Zero(t, b.metric("matches_open"))
	})
}

// A push service that fails is taken out: what waits for its pause to end does not.
func TestProviderThatFailsIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{})
		defer b.stop()
		post, other := b.post, b.cfg.Providers[1].(*postbox)
		p := b.phone("both")
		p.enrol(p.at("post", "other"), post, other)
		broken := &refusing{postbox: post, verdict: pushext.Verdict{Class: pushext.ProviderBroken, Reason: "401"}}
		b.provide(broken, other)
		env := b.envelope(topicA)
		time.Sleep(time.Second)
		synctest.Wait()
		p.took(other)
		b.provide(other)
		time.Sleep(time.Minute)
		synctest.Wait()
		reached := false
		for _, one := range p.took(other) {
			reached = reached || one.Kind == pushwire.Messages && one.Hashes[0] == env.Hash()
		}
		status, err := b.ext.outbox.Status(1)
		require.NoError(t, err)
		require.True(t, reached || status.Pending == 0, "it was woken")
		require.Zero(t, b.withdrawn())
	})
}

// refusing is a push service that gives one verdict.
type refusing struct {
	*postbox
	verdict pushext.Verdict
}

func (r *refusing) Push(context.Context, pushext.Notification) pushext.Verdict { return r.verdict }

// A stream of wake-ups goes on while push services come and go: every one of them reaches its device, whichever way.
func TestProvidersComeAndGoUnderAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{}, func(c *Config) { c.Delivery.Budget = pushext.Budget{Burst: 1000, Every: time.Millisecond} })
		defer b.stop()
		post, other := b.post, b.cfg.Providers[1].(*postbox)
		var phones []*phone
		for _, name := range []string{"a", "b", "c", "d"} {
			p := b.phone(name)
			p.enrol(p.at("post", "other"), post, other)
			phones = append(phones, p)
		}
		named := make(map[*phone]map[common.Hash]bool)
		for _, p := range phones {
			named[p] = make(map[common.Hash]bool)
		}
		collect := func() {
			for _, p := range phones {
				fetch := &pushwire.Fetch{}
				for _, payload := range append(p.took(post), p.took(other)...) {
					require.False(t, payload.More)
					for _, h := range payload.Hashes {
						if !named[p][h] {
							fetch.Hashes = append(fetch.Hashes, h)
						}
						named[p][h] = true
					}
				}
				require.Equal(t, pushwire.OK, p.ask(fetch).Code)
			}
		}
		sets := [][]pushext.Provider{{other}, {post, other}, {post}, {other, post, &postbox{name: "third"}}, {other, &postbox{name: "third"}}, {post, other}}
		var all []common.Hash
		for i := range 120 {
			all = append(all, b.envelope(topicA).Hash())
			if i%5 == 4 {
				b.provide(sets[i/5%len(sets)]...)
			}
			time.Sleep(time.Duration(i%7) * 100 * time.Millisecond)
			if i%10 == 9 {
				collect()
			}
		}
		b.provide(post, other)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		collect()
		for _, p := range phones {
			missing := 0
			for _, h := range all {
				if !named[p][h] {
					missing++
				}
			}
			require.Zero(t, missing, "wake-ups of %s", p.token)
		}
		require.Zero(t, b.withdrawn())
	})
}
