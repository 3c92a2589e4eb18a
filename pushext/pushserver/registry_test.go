package pushserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

func TestRestartKeepsRegistrations(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob, carol, dave := b.phone("bob"), b.phone("carol"), b.phone("dave")
		bob.join(bob.registration(topicA))
		carol.join(carol.registration(topicA))
		carol.version++
		require.Equal(t, pushwire.OK, carol.ask(&pushwire.Unregister{Version: carol.version}).Code)
		require.Equal(t, pushwire.OK, dave.ask(dave.registration(topicA)).Code)
		code := dave.code()
		b.restart()
		b.envelope(topicA)
		require.Len(t, bob.payloads(), 1)
		require.Empty(t, carol.payloads())
		require.Empty(t, dave.payloads())

		// The tombstone holds, and a code outlives the restart.
		carol.version = 0
		rep := carol.refused(carol.registration(topicA), pushwire.Stale)
		require.Equal(t, pushwire.Terminated, rep.State)
		rep = carol.ask(&pushwire.Unregister{Version: 2})
		require.Equal(t, pushwire.OK, rep.Code, "said before")
		require.Equal(t, pushwire.Active, dave.ask(&pushwire.Confirm{Code: code}).State)

		// Coming back needs a higher version, and proof.
		carol.version = 10
		carol.join(carol.registration(topicA))
		b.envelope(topicA)
		all := carol.payloads()
		require.Len(t, all, 1)
		require.Len(t, all[0].Hashes, 1, "nothing of before")
	})
}

func TestRegisterAgain(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		first := bob.registration(topicA)
		bob.join(first)
		// The same again changes nothing; with a new version and the same address
		// there is no challenge.
		rep := bob.ask(first)
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		rep = bob.ask(bob.registration(topicB))
		require.Equal(t, pushwire.Active, rep.State)
		require.False(t, rep.Body.(*pushwire.RegisterReply).Challenged)
		require.Empty(t, bob.payloads())
		b.envelope(topicA)
		require.Empty(t, bob.payloads())
		b.envelope(topicB)
		require.Len(t, bob.payloads(), 1)

		// A new token: what matches meanwhile waits for the proof.
		bob.token = "new token of bob"
		rep = bob.ask(bob.registration(topicB))
		require.Equal(t, pushwire.Waiting, rep.State)
		code := bob.code()
		env := b.envelope(topicB)
		require.Empty(t, bob.payloads())
		require.Empty(t, b.post.take("bob"))
		require.Equal(t, pushwire.Active, bob.ask(&pushwire.Confirm{Code: code}).State)
		time.Sleep(time.Minute)
		all := bob.payloads()
		require.Len(t, all, 1)
		require.Equal(t, env.Hash(), all[0].Hashes[0])
		require.Empty(t, b.post.take("bob"))
	})
}

// The last one who proved an address has it; nobody else can take it away.
func TestAddressOwnership(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob, mallory := b.phone("shared token"), b.phone("shared token")
		bob.join(bob.registration(topicA))

		// A claim alone changes nothing, neither for the owner nor for what the owner
		// receives.
		require.Equal(t, pushwire.OK, mallory.ask(mallory.registration(topicB)).Code)
		code := mallory.code()
		mallory.refused(&pushwire.Confirm{Code: [16]byte{1}}, pushwire.WrongCode)
		bob.refused(&pushwire.Confirm{Code: code}, pushwire.WrongCode)
		mallory.version++
		require.Equal(t, pushwire.OK, mallory.ask(&pushwire.Unregister{Version: mallory.version}).Code)
		b.envelope(topicA)
		b.envelope(topicB)
		all := b.post.take("shared token")
		require.Len(t, all, 1)
		_, err := pushwire.OpenPayload(all[0].Body, bob.private)
		require.NoError(t, err)

		// The same device under a new key proves it has the address.
		again := b.phone("shared token")
		again.join(again.registration(topicA))
		rep, status := bob.status()
		require.Equal(t, pushwire.Dead, rep.State)
		require.Equal(t, "its address was confirmed by another registration", rep.Reason)
		require.Empty(t, status.Routes)
		b.envelope(topicA)
		require.Len(t, again.payloads(), 1)
	})
}

func TestDeadTokenIsToldWithTheReason(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		rec, err := b.ext.registry.Lookup(keyOf(bob))
		require.NoError(t, err)
		b.ext.registry.Kill(rec.ID, "post 404 gone", rec.Registered.Add(-time.Second))
		rep, _ := bob.status()
		require.Equal(t, pushwire.Active, rep.State, "the verdict is older than the registration")
		b.ext.registry.Kill(rec.ID, "post 404 gone", time.Now())
		synctest.Wait()
		rep = bob.ask(&pushwire.Fetch{})
		require.Equal(t, pushwire.OK, rep.Code, "fetching goes on")
		require.Equal(t, pushwire.Dead, rep.State)
		require.Equal(t, "post 404 gone", rep.Reason)
		b.envelope(topicA)
		require.Empty(t, b.post.take("bob"))
		bob.join(bob.registration(topicA))
		b.envelope(topicA)
		require.Len(t, bob.payloads(), 1)
	})
}

func keyOf(p *phone) [33]byte {
	return [33]byte(crypto.CompressPubkey(&p.key.PublicKey))
}

func TestLifetimeEnds(t *testing.T) {
	bedTest(t, Limits{Tombstone: 48 * time.Hour}, func(b *bed) {
		bob := b.phone("bob")
		g := bob.registration(topicA)
		g.Lifetime = 3600
		bob.join(g)
		time.Sleep(time.Hour)
		b.envelope(topicA)
		require.Empty(t, bob.payloads(), "not a second longer")
		time.Sleep(2 * time.Minute)
		rep, status := bob.status()
		require.Equal(t, pushwire.Expired, rep.State)
		require.Equal(t, "its lifetime is over", rep.Reason)
		require.Empty(t, status.Channels)
		require.Zero(t, b.ext.registry.Counts().Indexed)
		require.Equal(t, [3]int{tombstones: 1}, counts(b))
		bob.refused(&pushwire.Fetch{}, pushwire.NotRegistered)
		bob.join(bob.registration(topicA))

		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		time.Sleep(49 * time.Hour)
		bob.refused(&pushwire.Status{}, pushwire.NotRegistered)
		require.Equal(t, [3]int{}, counts(b))
		time.Sleep(24 * time.Hour)
		require.Equal(t, 5, count(b), "what is left is the format, the check of the disk key, the next id, the breaks of the log, and the outbox's run")
	})
}

// What counts has, by place.
const (
	unconfirmed = iota
	registered
	tombstones
)

// counts are the registrations by class.
func counts(b *bed) [3]int {
	c := b.ext.registry.Counts()
	return [3]int{c.Unconfirmed, c.Registered, c.Tombstones}
}

// count is how many records are on disk besides the cursor.
func count(b *bed) (n int) {
	it := b.ext.store.DB.Scan(nil, nil)
	defer it.Release()
	for it.Next() {
		if string(it.Key()) != string(outbox.KeyCursor) {
			n++
		}
	}
	return n
}

func TestChallengesOfAnAddressAreFew(t *testing.T) {
	bedTest(t, Limits{Challenges: 2}, func(b *bed) {
		for range 2 {
			mallory := b.phone("token of a victim")
			require.Equal(t, pushwire.OK, mallory.ask(mallory.registration()).Code)
		}
		b.restart()
		mallory := b.phone("token of a victim")
		rep := mallory.refused(mallory.registration(), pushwire.Limit)
		require.Equal(t, pushwire.None, rep.State)
		require.Len(t, b.post.take("token of a victim"), 2)
		time.Sleep(25 * time.Hour)
		require.Equal(t, pushwire.OK, mallory.ask(mallory.registration()).Code)
	})
}

func TestCodeGrowsOld(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		require.Equal(t, pushwire.OK, bob.ask(bob.registration(topicA)).Code)
		code := bob.code()
		time.Sleep(5*time.Minute + time.Second)
		bob.refused(&pushwire.Confirm{Code: code}, pushwire.WrongCode)
		time.Sleep(6 * time.Minute)
		bob.refused(&pushwire.Status{}, pushwire.NotRegistered)
		require.Equal(t, [3]int{}, counts(b))
	})
}

func TestRoomIsBounded(t *testing.T) {
	ok := func(b *bed, rep *pushwire.Reply) {
		t.Helper()
		require.Equal(b.t, pushwire.OK, rep.Code, rep.Text)
	}
	t.Run("unconfirmed", func(t *testing.T) {
		bedTest(t, Limits{Unconfirmed: 2}, func(b *bed) {
			bob := b.phone("bob")
			bob.join(bob.registration(topicA))
			var flood []*phone
			for _, token := range []string{"1", "2", "3"} {
				p := b.phone(token)
				time.Sleep(time.Second)
				ok(b, p.ask(p.registration(topicA)))
				flood = append(flood, p)
			}
			flood[0].refused(&pushwire.Status{}, pushwire.NotRegistered)
			flood[1].status()
			bob.status()
			require.Equal(t, [3]int{unconfirmed: 2, registered: 1}, counts(b))
		})
	})
	t.Run("registrations", func(t *testing.T) {
		bedTest(t, Limits{Registrations: 3}, func(b *bed) {
			for _, token := range []string{"1", "2"} {
				p := b.phone(token)
				p.join(p.registration())
			}
			p := b.phone("3")
			ok(b, p.ask(p.registration()))
			p.refused(&pushwire.Confirm{Code: p.code()}, pushwire.Limit)
			other := b.phone("4")
			ok(b, other.ask(other.registration()))
			p.refused(&pushwire.Status{}, pushwire.NotRegistered)
		})
	})
	t.Run("channels", func(t *testing.T) {
		bedTest(t, Limits{AllChannels: 5}, func(b *bed) {
			bob, carol := b.phone("bob").from("a network"), b.phone("carol").from("a network")
			bob.join(bob.registration(topicA, topicB))
			carol.refused(carol.registration(topicA, topicB), pushwire.Limit)
			carol.join(carol.registration())
			ok(b, carol.from("another network").ask(carol.registration(topicA)))
			bob.version++
			bob.refused(&pushwire.Channels{Version: bob.version, Channels: []pushwire.Channel{{Topic: whisper.Topic{1}}}}, pushwire.Limit)
		})
	})
	t.Run("source", func(t *testing.T) {
		bedTest(t, Limits{PerSource: 2}, func(b *bed) {
			for i, token := range []string{"1", "2", "3"} {
				p := b.phone(token)
				p.peer = enode.ID{1}
				if i < 2 {
					p.join(p.registration())
					ok(b, p.ask(p.registration()))
				} else {
					p.refused(p.registration(), pushwire.Limit)
				}
			}
		})
	})
	t.Run("source of who left", func(t *testing.T) {
		bedTest(t, Limits{PerSource: 2}, func(b *bed) {
			for i := range 3 {
				p := b.phone(fmt.Sprint(i))
				b.networks[p.peer] = "203.0.113.0/24"
				req, err := pushwire.SealRequest(t.Context(), pushwire.NewRequest(p.registration(), time.Now()), p.key, &b.cfg.PushKey.PublicKey, 0)
				require.NoError(t, err)
				b.ext.HandleRequest(p.peer, req.Raw())
				b.mu.Lock()
				delete(b.networks, p.peer) // as soon as it has spoken
				b.mu.Unlock()
				synctest.Wait()
			}
			require.Equal(t, [3]int{unconfirmed: 2}, counts(b))
		})
	})
	t.Run("group", func(t *testing.T) {
		bedTest(t, Limits{PerGroup: 1, PerHandle: 1}, func(b *bed) {
			bob, carol := b.phone("bob"), b.phone("carol")
			shared := func(p *phone) *pushwire.Register {
				g := p.registration()
				g.Group = []byte("group")
				return g
			}
			ok(b, bob.ask(shared(bob)))
			carol.refused(shared(carol), pushwire.Limit)
			handled := func(p *phone) *pushwire.Register {
				g := p.registration()
				g.Preferences = pushwire.Preferences{Root: make([]byte, pushwire.RootSize), Handle: make([]byte, pushwire.HandleSize)}
				return g
			}
			ok(b, bob.ask(handled(bob)))
			carol.refused(handled(carol), pushwire.Limit)
		})
	})
	t.Run("address", func(t *testing.T) {
		bedTest(t, Limits{PerAddress: 2, Challenges: 9}, func(b *bed) {
			bob, first, second, third := b.phone("token"), b.phone("token"), b.phone("token"), b.phone("token")
			bob.join(bob.registration(topicA))
			for _, p := range []*phone{first, second, third} {
				ok(b, p.ask(p.registration(topicA)))
				time.Sleep(time.Second)
			}
			first.refused(&pushwire.Status{}, pushwire.NotRegistered)
			second.refused(&pushwire.Status{}, pushwire.NotRegistered)
			third.status()
			bob.post.take("token")
			b.envelope(topicA)
			require.Len(t, bob.payloads(), 1)
		})
	})
	t.Run("challenged", func(t *testing.T) {
		bedTest(t, Limits{Challenged: 1}, func(b *bed) {
			bob, carol := b.phone("bob"), b.phone("carol")
			ok(b, bob.ask(bob.registration()))
			carol.refused(carol.registration(), pushwire.Busy)
		})
	})
	t.Run("tombstones", func(t *testing.T) {
		bedTest(t, Limits{Tombstones: 1}, func(b *bed) {
			for _, token := range []string{"1", "2", "3"} {
				p := b.phone(token)
				p.join(p.registration(topicA))
				p.version++
				ok(b, p.ask(&pushwire.Unregister{Version: p.version}))
				time.Sleep(time.Second)
			}
			time.Sleep(2 * time.Minute)
			require.Equal(t, [3]int{tombstones: 1}, counts(b))
		})
	})
}

func TestSkippedChallenge(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob, mallory := b.phone("token"), b.phone("token")
		for _, p := range []*phone{bob, mallory} {
			rep := p.ask(p.registration(topicA))
			require.Equal(t, pushwire.Active, rep.State)
			require.False(t, rep.Body.(*pushwire.RegisterReply).Challenged)
		}
		rep, _ := bob.status()
		require.Equal(t, pushwire.Active, rep.State, "without proof nobody loses an address")
		b.envelope(topicA)
		require.Len(t, b.post.take("token"), 2)
	}, func(c *Config) { c.SkipChallenge = []string{"post"} })
}

// A change that cannot be written is refused, and nothing has changed.
func TestDiskFull(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob, carol := b.phone("bob"), b.phone("carol")
		bob.join(bob.registration(topicA))
		b.disk.Disk().SetFault(func(op faultstore.Op) error { return errors.New("disk full") })
		rep := bob.refused(bob.registration(topicB), pushwire.Internal)
		require.Equal(t, pushwire.Active, rep.State)
		carol.refused(carol.registration(topicA), pushwire.Internal)
		require.Empty(t, b.post.take("carol"), "no challenge for what is not on disk")
		b.disk.Disk().SetFault(nil)
		time.Sleep(time.Minute)
		_, status := bob.status()
		require.Equal(t, []pushwire.Channel{{Topic: topicA}}, status.Channels)
		require.Equal(t, pushwire.OK, bob.ask(bob.registration(topicB)).Code)
		carol.join(carol.registration(topicA))
	})
}

// A damaged record costs its registration alone, and its device can come back.
func TestDamagedRecord(t *testing.T) {
	bedTest(t, Limits{Lifetime: time.Hour, Tombstone: time.Hour}, func(b *bed) {
		bob, carol := b.phone("bob"), b.phone("carol")
		bob.join(bob.registration(topicA))
		carol.join(carol.registration(topicA))
		rec, err := b.ext.registry.Lookup(keyOf(bob))
		require.NoError(t, err)
		var batch durable.Batch
		batch.Put(binary.BigEndian.AppendUint64([]byte{registry.PrefixRecord}, uint64(rec.ID)), []byte("garbage"))
		require.NoError(t, b.ext.store.Write(&batch))
		b.restart()
		bob.refused(&pushwire.Status{}, pushwire.NotRegistered)
		b.envelope(topicA)
		require.Len(t, carol.payloads(), 1)
		require.Empty(t, b.post.take("bob"))
		bob.join(bob.registration(topicA))
		b.envelope(topicA)
		require.Len(t, bob.payloads(), 1)
		require.Equal(t, 3, b.ext.registry.Counts().Indexed)
		carol.version++
		require.Equal(t, pushwire.OK, carol.ask(&pushwire.Unregister{Version: carol.version}).Code)
		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		time.Sleep(3 * time.Hour)
		require.Zero(t, b.ext.registry.Counts().Indexed, "what is left of it goes when its lifetime is over")
		require.Equal(t, [3]int{}, counts(b))
	})
}

// A device is told where it and the server are, in numbers that a new
// registration under the same key does not share with the old one.
func TestStanding(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		refused := bob.refused(&pushwire.Status{}, pushwire.NotRegistered).Body.(*pushwire.StatusReply)
		require.Equal(t, pushwire.Standing{Now: uint64(time.Now().UnixMilli()), Log: []byte("a log")}, refused.Standing, "also for who is not registered")
		bob.join(bob.registration(topicA))
		_, first := bob.status()
		require.NotZero(t, first.Epoch)
		again := bob.ask(bob.registration(topicA)).Body.(*pushwire.RegisterReply)
		require.Equal(t, first.Epoch, again.Epoch)
		b.restart()
		_, later := bob.status()
		require.Equal(t, first.Epoch, later.Epoch)
		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		bob.join(bob.registration(topicA))
		_, second := bob.status()
		require.NotEqual(t, first.Epoch, second.Epoch)
	}, func(c *Config) { c.Log.(*archive).id = []byte("a log") })
}
