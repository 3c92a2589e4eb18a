package pushserver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// A victim's token is registered by somebody else: it gets a challenge, which
// only the victim can read and which does nothing by itself, and no more than
// three in a day, whoever asks. Nothing else is ever sent there, and the
// victim's own registration goes on as if nothing had happened.
func TestTokenOfAnother(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		victim := b.phone("victim")
		victim.join(victim.registration(topicA))
		var attackers []*phone
		for range 5 {
			a := b.phone("victim")
			rep := a.ask(a.registration(topicA, topicB))
			if rep.Code == pushwire.OK {
				require.Equal(t, pushwire.Waiting, rep.State)
				attackers = append(attackers, a)
			} else {
				require.Equal(t, pushwire.Limit, rep.Code, rep.Text)
			}
		}
		require.Len(t, attackers, 2, "the victim's own challenge was the first of three")
		for _, n := range b.post.take("victim") {
			// Sealed to the attacker's key: the victim's app cannot read it, and the
			// attacker does not get it.
			_, err := pushwire.OpenPayload(n.Body, victim.private)
			require.ErrorIs(t, err, pushwire.ErrCannotOpen)
			require.False(t, n.Visible)
		}

		// Envelopes on the attackers' topics do not ring the victim, by their
		// registrations at least.
		for range 3 {
			b.envelope(topicB)
			time.Sleep(time.Minute)
		}
		require.Empty(t, b.post.take("victim"))
		env := b.envelope(topicA)
		got := victim.payloads()
		require.Len(t, got, 1, "his own, once")
		require.Equal(t, env.Hash(), got[0].Hashes[0])

		// Nothing that attackers may say under their own keys ends, silences
		// or moves anything of the victim's.
		for _, a := range attackers {
			a.refused(&pushwire.Confirm{Code: [pushwire.CodeSize]byte{1}}, pushwire.WrongCode)
			a.refused(&pushwire.Fetch{Hashes: got[0].Hashes}, pushwire.Unconfirmed)
			a.refused(&pushwire.Seen{Hashes: got[0].Hashes}, pushwire.Unconfirmed)
			a.version++
			require.Equal(t, pushwire.OK, a.ask(&pushwire.Channels{Version: a.version, Channels: []pushwire.Channel{{Topic: topicA, Mode: pushwire.Muted}}}).Code)
			a.version++
			require.Equal(t, pushwire.OK, a.ask(&pushwire.Unregister{Version: a.version}).Code)
		}
		b.envelope(topicA)
		got = victim.payloads()
		require.Len(t, got, 1)
		require.Len(t, got[0].Hashes, 2, "what was not fetched is still named")
		_, status := victim.status()
		require.Equal(t, pushwire.Active, status.Routes[0].State)

		// The day after it is the same again.
		time.Sleep(25 * time.Hour)
		b.post.take("victim")
		a := b.phone("victim")
		require.Equal(t, pushwire.OK, a.ask(a.registration(topicB)).Code)
		time.Sleep(time.Hour)
		require.Len(t, b.post.take("victim"), 1)
	})
}

// A capability, a group id or a handle that somebody guesses or shares does not
// let them silence somebody else.
func TestGroupOfAnother(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		victim, thief := b.phone("victim"), b.phone("thief")
		g := victim.registration(topicA)
		g.Group = []byte("a secret of thirty-two bytes ....")[:32]
		victim.join(g)
		g = thief.registration(topicA)
		g.Group = []byte("another secret, thirty-two bytes.")[:32]
		thief.join(g)
		env := b.envelope(topicA)
		require.Len(t, victim.payloads(), 1)
		require.Equal(t, pushwire.OK, thief.ask(&pushwire.Seen{Hashes: []common.Hash{env.Hash()}}).Code)
		time.Sleep(time.Minute)
		require.Empty(t, victim.payloads(), "no dismissal from a stranger")
		b.envelope(topicA)
		require.Len(t, victim.payloads()[0].Hashes, 2)
	})
}

// Hashes are in the clear for a device that asked for that, and for no other.
func TestPlainOnlyWhenAsked(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		sealed, plain := b.phone("sealed"), b.phone("plain")
		sealed.join(sealed.registration(topicA))
		g := plain.registration(topicA)
		g.Plain, g.SealKey, g.Chain = true, nil, nil
		require.Equal(t, pushwire.OK, plain.ask(g).Code)
		challenge, err := pushwire.OpenPayload(b.post.take("plain")[0].Body, nil)
		require.NoError(t, err)
		require.Equal(t, pushwire.OK, plain.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(challenge.Code)}).Code)
		env := b.envelope(topicA)
		require.Contains(t, string(b.post.take("plain")[0].Body), env.Hash().Hex())
		body := b.post.take("sealed")[0].Body
		require.Len(t, body, pushwire.BodySize)
		require.NotContains(t, string(body), env.Hash().Hex()[2:18])
		_, err = pushwire.OpenPayload(body, nil)
		require.Error(t, err)

		// Neither is possible by halves.
		both := b.phone("both")
		g = both.registration(topicA)
		g.Plain = true
		env2, err := pushwire.SealRequest(t.Context(), pushwire.NewRequest(g, time.Now()), both.key, &b.cfg.PushKey.PublicKey, 0)
		if err == nil {
			b.ext.HandleRequest(both.peer, env2.Raw())
			synctest.Wait()
			require.Equal(t, pushwire.Malformed, both.reply().Code)
		}
	})
}

// Thousands of registrations come from one source: few are accepted,
// the disk usage stays small, and registered devices notice nothing.
func TestRegistrationFlood(t *testing.T) {
	const flood, sources = 10_000 / scale, 2000 / scale
	bedTest(t, Limits{PeerRate: 1e9, PeerBurst: 1e9, Unconfirmed: sources/2 + 156}, func(b *bed) {
		honest := b.phone("honest")
		honest.join(honest.registration(topicA))
		r := b.ext.registry
		a := &attacker{Registry: r, verdict: pushext.Verdict{Class: pushext.Delivered}}
		size := func() (n int) {
			it := b.ext.store.Scan()
			defer it.Release()
			for it.Next() {
				n += len(it.Key()) + len(it.Value())
			}
			return n
		}
		register := func(source, token string) error {
			route := pushwire.Route{Provider: "post", Address: []byte(token), Keys: [][]byte{{1}}}
			return a.attack(source, []pushwire.Route{route}, pushwire.Channel{Topic: topicB})
		}
		taken, before := 0, size()
		for i := range flood {
			if register("mallory's", fmt.Sprint("token ", i)) == nil {
				taken++
			}
		}
		require.Equal(t, 4096/8, taken, "of one source at once")
		require.Equal(t, 256, counts(b)[unconfirmed], "at a time")
		require.Less(t, size()-before, 256*1024+taken*64)

		// From as many sources as the attacker likes: the room for the unproven
		// is bounded, and they push each other out.
		for i := range sources {
			require.NoError(t, register(network(i), fmt.Sprint("other ", i)))
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, min(256+sources, sources/2+156), counts(b)[unconfirmed])
		require.Less(t, size()-before, (taken+sources)*64+counts(b)[unconfirmed]*1024)

		// One token, named by many: eight may claim it, and three challenges go
		// there in a day.
		taken = 0
		for i := range 100 {
			if register(network(sources+i), "wanted") == nil {
				taken++
			}
		}
		require.Equal(t, 3, taken)

		env := b.envelope(topicA)
		got := honest.payloads()
		require.Len(t, got, 1)
		require.Equal(t, env.Hash(), got[0].Hashes[0])
		late := b.phone("late")
		late.join(late.registration(topicA))
	})
}
