package pushserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// detail asks for the status in detail, with test pushes or without.
func (p *phone) detail(test bool) *pushwire.Reply {
	p.t.Helper()
	return p.ask(&pushwire.Status{Detail: &pushwire.StatusDetail{Test: test}})
}

func (p *phone) delivery() *pushwire.Delivery {
	p.t.Helper()
	rep := p.detail(false)
	require.Equal(p.t, pushwire.OK, rep.Code, rep.Text)
	return rep.Body.(*pushwire.StatusReply).Delivery
}

// canaries are how many test pushes came for a token.
func (p *phone) canaries() (n int) {
	for _, payload := range p.payloads() {
		if payload.Kind == pushwire.Canary {
			n++
		}
	}
	return n
}

// A device learns how its wake-ups get through, and has a test push sent on each of its
// routes: few of them, whatever it does, and within its budget.
func TestTestPush(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		require.Nil(t, bob.ask(&pushwire.Status{}).Body.(*pushwire.StatusReply).Delivery, "it is not asked for")
		fresh := bob.delivery()
		require.Equal(t, &pushwire.Delivery{Tests: 3, Routes: []pushwire.RouteDelivery{{Budget: 20}}}, fresh)

		env := b.envelope(topicA)
		rung := uint64(time.Now().Unix())
		got := bob.delivery()
		require.EqualValues(t, 1, got.Unread)
		require.Zero(t, got.Pending)
		require.Equal(t, rung, got.Routes[0].Accepted)
		require.EqualValues(t, 19, got.Routes[0].Budget)
		time.Sleep(time.Minute)
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Fetch{Hashes: hashesOf(env)}).Code)
		require.EqualValues(t, time.Now().Unix(), bob.delivery().Fetched)
		bob.payloads()

		rep := bob.detail(true)
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, 1, bob.canaries())
		got = bob.delivery()
		require.EqualValues(t, 2, got.Tests)
		require.Equal(t, pushwire.TestAccepted, got.Routes[0].Outcome)
		require.EqualValues(t, time.Now().Unix(), got.Routes[0].Tested)
		require.EqualValues(t, 19, got.Routes[0].Budget, "it counts as any push")

		// The service says that the address is gone: the device learns that, and its
		// registration does not end by it.
		b.post.mu.Lock()
		b.post.dead["bob"] = true
		b.post.mu.Unlock()
		bob.detail(true)
		got = bob.delivery()
		require.Equal(t, pushwire.TestFailed, got.Routes[0].Outcome)
		require.Equal(t, "post 404 gone", got.Routes[0].Reason)
		rep = bob.detail(false)
		require.Equal(t, pushwire.Active, rep.State)
		b.post.mu.Lock()
		b.post.dead["bob"] = false
		b.post.mu.Unlock()

		bob.detail(true)
		bob.payloads()
		require.Equal(t, pushwire.Limit, bob.detail(true).Code)
		require.Zero(t, bob.canaries())
		// A new registration of the same device does not begin anew.
		require.Equal(t, pushwire.OK, bob.ask(bob.registration(topicB)).Code)
		require.Equal(t, pushwire.Limit, bob.detail(true).Code)
		sent := 0
		for range 60 {
			time.Sleep(time.Minute)
			bob.detail(true)
			sent += bob.canaries()
		}
		require.Equal(t, 6, sent, "one in ten minutes")
	})
}

// Test pushes go nowhere but to addresses that were proved, and not beyond the budget.
func TestAttackTestPushes(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		eve := b.phone("eve")
		require.Equal(t, pushwire.NotRegistered, eve.detail(true).Code)
		require.Equal(t, pushwire.OK, eve.ask(eve.registration(topicA)).Code)
		eve.payloads() // the challenge of the address of somebody else
		require.Equal(t, pushwire.OK, eve.detail(true).Code)
		require.Empty(t, eve.payloads(), "an address that is not proved gets none")

		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		for range 2 {
			b.envelope(topicA)
		}
		time.Sleep(15 * time.Millisecond)
		require.NotZero(t, bob.payloads())
		require.Equal(t, pushwire.OK, bob.detail(true).Code)
		require.Empty(t, bob.payloads())
		got := bob.delivery()
		require.Equal(t, pushwire.TestHeld, got.Routes[0].Outcome)
		require.Zero(t, got.Routes[0].Budget)
	}, func(c *Config) { c.Delivery.Budget = pushext.Budget{Burst: 2, Every: time.Hour} })
}

// A device that is left alone is told so.
func TestSilencedIsTold(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		for range 3 {
			b.envelope(topicA)
			time.Sleep(time.Minute)
		}
		got := bob.delivery()
		require.True(t, got.Silenced)
		require.EqualValues(t, 3, got.Unread)
		require.EqualValues(t, 1, got.Pending)
	}, func(c *Config) { c.Delivery.SilentAfter = 2 })
}

// Where the plain form is refused nobody is woken by it any more, and devices are told before
// and after.
func TestSealedOnly(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		plain := b.phone("plain")
		g := plain.registration(topicA)
		g.Plain, g.SealKey, g.Chain = true, nil, nil
		rep := plain.ask(g)
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.False(t, rep.Body.(*pushwire.RegisterReply).Limits.Sealed)
		challenge, err := pushwire.OpenPayload(plain.post.take("plain")[0].Body, nil)
		require.NoError(t, err)
		require.Equal(t, pushwire.Active, plain.ask(&pushwire.Confirm{Code: [16]byte(challenge.Code)}).State)
		b.envelope(topicA)
		require.Len(t, plain.post.take("plain"), 1)

		apply, err := b.ext.Prepare(Settings{Limits: Limits{PoW: -1, SealedOnly: true}, Providers: b.cfg.Providers})
		require.NoError(t, err)
		apply()
		require.True(t, b.ext.Limits().Sealed, "as the offer says")
		b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Empty(t, plain.post.take("plain"))
		rep, _ = plain.status()
		require.Equal(t, pushwire.Active, rep.State)
		require.Contains(t, rep.Reason, "register with a seal key")
		require.Equal(t, pushwire.Disabled, plain.detail(true).Code)
		g.Version++
		plain.version++
		rep = plain.refused(g, pushwire.Disabled)
		require.True(t, rep.Body.(*pushwire.RegisterReply).Limits.Sealed)
		require.Empty(t, plain.post.take("plain"))

		sealed := plain.registration(topicA)
		require.Equal(t, pushwire.OK, plain.ask(sealed).Code)
		time.Sleep(time.Minute)
		all := plain.payloads()
		require.NotEmpty(t, all)
		require.Len(t, all[len(all)-1].Hashes, 2, "what waited is told now")
	})
}
