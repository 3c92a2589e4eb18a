package pushserver

import (
	"crypto/ecdsa"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// rotate gives the server another push key, and returns the one before. Phones ask with the new
// one.
func (b *bed) rotate(overlap time.Duration, leaked bool) (former *ecdsa.PrivateKey) {
	b.t.Helper()
	former = b.cfg.PushKey
	next, err := crypto.GenerateKey()
	require.NoError(b.t, err)
	one := FormerKey{Key: former, Until: time.Now().Add(overlap)}
	if !leaked {
		s, err := pushwire.NewSuccession(former, next, uint64(time.Now().Unix()), uint64(one.Until.Unix()))
		require.NoError(b.t, err)
		one.Succession = &s
	}
	b.cfg.PushKey, b.cfg.FormerKeys = next, append(b.cfg.FormerKeys, one)
	b.ext.SetKeys(Keys{Current: next, Former: b.cfg.FormerKeys})
	return former
}

// with has phones ask with another push key while do does something.
func (b *bed) with(key *ecdsa.PrivateKey, do func()) {
	now := b.cfg.PushKey
	b.cfg.PushKey = key
	do()
	b.cfg.PushKey = now
}

func (b *bed) heard(key *ecdsa.PrivateKey) [2]int {
	b.t.Helper()
	heard, all, err := b.ext.HeardWith(b.t.Context(), &key.PublicKey)
	require.NoError(b.t, err)
	return [2]int{heard, all}
}

func TestPushKeyOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{})
		defer b.stop()
		p, other := b.phone("token"), b.phone("other token")
		p.join(p.registration(topicA))
		other.join(other.registration(topicA))
		former := b.rotate(time.Hour, false)
		succession := *b.cfg.FormerKeys[0].Succession

		// Either key is answered, by itself, and both replies lead to the new one.
		b.with(former, func() {
			rep, _ := p.status()
			require.Equal(t, []pushwire.Succession{succession}, rep.Successions)
			rep = b.phone("nobody's").refused(&pushwire.Fetch{}, pushwire.NotRegistered)
			require.Equal(t, []pushwire.Succession{succession}, rep.Successions, "a refusal does so too")
		})
		require.Equal(t, [2]int{0, 2}, b.heard(b.cfg.PushKey))
		rep, _ := p.status()
		require.Equal(t, []pushwire.Succession{succession}, rep.Successions, "what the former key signed is the same server's")
		require.Equal(t, [2]int{1, 2}, b.heard(b.cfg.PushKey))

		// Both are woken, and fetch.
		env := b.envelope(topicA)
		for _, one := range []*phone{p, other} {
			require.Len(t, one.payloads(), 1)
			fetch := &pushwire.Fetch{}
			fetch.Hashes = append(fetch.Hashes, env.Hash())
			if one == other {
				b.with(former, func() { require.Equal(t, fetch.Hashes, one.ask(fetch).Body.(*pushwire.FetchReply).Sent) })
			} else {
				require.Equal(t, fetch.Hashes, one.ask(fetch).Body.(*pushwire.FetchReply).Sent)
			}
		}

		// A challenge names the key that the device asks with; its proof counts also if the device goes on meanwhile.
		for name, key := range map[string]*ecdsa.PrivateKey{"the former key": former, "the new key": b.cfg.PushKey} {
			fresh := b.phone("token for " + name)
			b.with(key, func() { require.Equal(t, pushwire.OK, fresh.ask(fresh.registration(topicB)).Code) })
			sent := fresh.payloads()
			require.Len(t, sent, 1)
			public := [33]byte(crypto.CompressPubkey(&key.PublicKey))
			require.Equal(t, public[:], sent[0].Server, name)
			account := [33]byte(crypto.CompressPubkey(&fresh.key.PublicKey))
			rep := fresh.ask(pushwire.NewConfirm([pushwire.CodeSize]byte(sent[0].Code), public, account))
			require.Equal(t, pushwire.OK, rep.Code, "%s: %s", name, rep.Text)
		}

		// A capability was given with the key of then.
		root, handle := [32]byte{1}, [pushwire.HandleSize]byte{2}
		g := p.registration()
		g.Preferences = pushwire.Preferences{Root: root[:], Handle: handle[:]}
		require.Equal(t, pushwire.OK, p.ask(g).Code)
		require.Equal(t, [2]int{3, 4}, b.heard(b.cfg.PushKey), "a registration that is replaced has gone on all the same")
		letter := b.envelope(topicB)
		notify := pushwire.NewNotify(pushwire.Capability(root[:], "alice"), handle, "alice", letter.Hash(), pushwire.NotifyMessage, succession.Former)
		p.payloads()
		require.Equal(t, pushwire.OK, b.phone("alice's").ask(notify).Code)
		synctest.Wait()
		require.Len(t, p.payloads(), 1)

		// It goes on so after a restart, until the overlap is over.
		b.restart()
		require.Equal(t, [2]int{3, 4}, b.heard(b.cfg.PushKey))
		time.Sleep(time.Hour)
		b.with(former, func() {
			rep := other.refused(&pushwire.Status{}, pushwire.Retired)
			require.Equal(t, []pushwire.Succession{succession}, rep.Successions, "whoever comes late goes on all the same")
			require.Equal(t, pushwire.None, rep.State, "it says nothing of the registration")
			g := other.registration(topicB)
			other.refused(g, pushwire.Retired)
		})
		rep, body := other.status()
		require.Empty(t, rep.Successions)
		require.Equal(t, topicA, body.Channels[0].Topic, "what was refused was not done")

		// From a key before that the way is longer.
		second := b.rotate(time.Hour, false)
		b.with(former, func() {
			rep := other.refused(&pushwire.Status{}, pushwire.Retired)
			path, err := pushwire.Follow(succession.Former[:], rep.Successions)
			require.NoError(t, err)
			require.Len(t, path, 2, "the successions are listed oldest first")
		})
		b.with(second, func() { other.status() })
	})
}

func TestPushKeyThatOthersKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{})
		defer b.stop()
		p := b.phone("token")
		p.join(p.registration(topicA))
		former := b.rotate(0, true)
		b.with(former, func() {
			require.Empty(t, p.refused(&pushwire.Status{}, pushwire.Retired).Successions)
		})
		rep, _ := p.status()
		require.Equal(t, pushwire.Active, rep.State)
		require.Empty(t, rep.Successions)
		second := b.rotate(time.Hour, false)
		b.with(former, func() {
			require.Empty(t, p.refused(&pushwire.Status{}, pushwire.Retired).Successions, "nothing leads on from it, not even over a key behind it")
		})
		b.with(second, func() {
			rep, _ := p.status()
			require.Len(t, rep.Successions, 1)
		})
	})
}
