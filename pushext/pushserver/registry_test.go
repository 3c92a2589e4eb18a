package pushserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
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

		// A claim alone changes nothing, for the owner and for what he gets.
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
		require.Equal(t, reasonMoved, rep.Reason)
		require.Empty(t, status.Routes)
		b.envelope(topicA)
		require.Len(t, again.payloads(), 1)
	})
}

func TestDeadTokenIsToldWithTheReason(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		rec, err := b.ext.registry.lookup(keyOf(bob))
		require.NoError(t, err)
		b.ext.registry.kill(rec.ID, "post 404 gone", rec.Registered.Add(-time.Second))
		rep, _ := bob.status()
		require.Equal(t, pushwire.Active, rep.State, "the verdict is older than the registration")
		b.ext.registry.kill(rec.ID, "post 404 gone", time.Now())
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
		require.Equal(t, reasonExpired, rep.Reason)
		require.Empty(t, status.Channels)
		require.Zero(t, b.ext.registry.index.Size())
		require.Equal(t, [classes]int{classTomb: 1}, counts(b))
		bob.refused(&pushwire.Fetch{}, pushwire.NotRegistered)
		bob.join(bob.registration(topicA))

		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		time.Sleep(49 * time.Hour)
		bob.refused(&pushwire.Status{}, pushwire.NotRegistered)
		require.Equal(t, [classes]int{}, counts(b))
		time.Sleep(24 * time.Hour)
		require.Equal(t, 4, count(b), "what is left is the format, the check of the disk key, the next id, and the outbox's run")
	})
}

// counts are the registrations by class.
func counts(b *bed) [classes]int {
	b.ext.registry.mu.Lock()
	defer b.ext.registry.mu.Unlock()
	return b.ext.registry.count
}

// count is how many records are on disk besides the cursor.
func count(b *bed) (n int) {
	it := b.ext.store.DB.Scan(nil, nil)
	defer it.Release()
	for it.Next() {
		if string(it.Key()) != string(keyCursor) {
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
		require.Equal(t, [classes]int{}, counts(b))
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
			require.Equal(t, [classes]int{classFresh: 2, classLive: 1}, counts(b))
		})
	})
	t.Run("registrations", func(t *testing.T) {
		bedTest(t, Limits{Registrations: 2}, func(b *bed) {
			for _, token := range []string{"1", "2"} {
				p := b.phone(token)
				p.join(p.registration())
			}
			p := b.phone("3")
			p.refused(p.registration(), pushwire.Limit)
		})
	})
	t.Run("channels", func(t *testing.T) {
		bedTest(t, Limits{AllChannels: 3}, func(b *bed) {
			bob, carol := b.phone("bob"), b.phone("carol")
			bob.join(bob.registration(topicA, topicB))
			carol.refused(carol.registration(topicA, topicB), pushwire.Limit)
			carol.join(carol.registration(topicA))
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
			require.Equal(t, [classes]int{classFresh: 2}, counts(b))
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
			require.Equal(t, [classes]int{classTomb: 1}, counts(b))
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
		rec, err := b.ext.registry.lookup(keyOf(bob))
		require.NoError(t, err)
		var batch durable.Batch
		batch.Put(idKey(prefixRecord, rec.ID), []byte("garbage"))
		require.NoError(t, b.ext.store.Write(&batch))
		b.restart()
		bob.refused(&pushwire.Status{}, pushwire.NotRegistered)
		b.envelope(topicA)
		require.Len(t, carol.payloads(), 1)
		require.Empty(t, b.post.take("bob"))
		bob.join(bob.registration(topicA))
		b.envelope(topicA)
		require.Len(t, bob.payloads(), 1)
		require.Equal(t, 3, b.ext.registry.index.Size())
		carol.version++
		require.Equal(t, pushwire.OK, carol.ask(&pushwire.Unregister{Version: carol.version}).Code)
		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		time.Sleep(3 * time.Hour)
		require.Zero(t, b.ext.registry.index.Size(), "what is left of it goes when its lifetime is over")
		require.Equal(t, [classes]int{}, counts(b))
	})
}

// model is what the registry should hold of one key.
type model struct {
	version  uint64
	live     bool
	channels map[whisper.Topic]bool
}

// TestRegistryModel plays requests in any order, old ones included, and checks
// after each that the last version wins, and that index, disk and a registry
// opened anew agree: by a snapshot after a clean stop, by reading all after a
// power cut, and whatever became of the snapshot's file.
func TestRegistryModel(t *testing.T) {
	temp := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(temp, "")
		require.NoError(t, err)
		disk := faultstore.New()
		post := &postbox{name: "post"}
		open := func(dir string) (*registry, *vault.Vault) {
			s, err := vault.Open(dir, testKey, durable.Options{Storage: disk})
			require.NoError(t, err)
			r, err := openRegistry(s, registryOptions{Limits: Limits{}.withDefaults(), Providers: []pushext.Provider{post}, SkipChallenge: []string{"post"}, Ends: noEnds{}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			return r, s
		}
		r, s := open(dir)
		reopen := func() {
			scanned, all := open("")
			require.NoError(t, all.Close())
			r, s = open(dir)
			require.Equal(t, scanned.tally, r.tally)
			require.Equal(t, scanned.index.Registrations(), r.index.Registrations())
			require.Equal(t, scanned.index.Image().Topics, r.index.Image().Topics)
		}
		file := filepath.Join(dir, snapshotName)
		var older []byte // a snapshot's file of once
		now := time.Unix(1_800_000_000, 0)
		var models [3]model
		topic := rapid.Custom(func(t *rapid.T) whisper.Topic { return whisper.Topic{rapid.Byte().Draw(t, "topic") % 4} })
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			who := rapid.IntRange(0, len(models)-1).Draw(t, "who")
			m := &models[who]
			key := [33]byte{byte(who)}
			version := rapid.Uint64Range(1, 12).Draw(t, "version")
			topics := rapid.SliceOfNDistinct(topic, 0, 3, rapid.ID[whisper.Topic]).Draw(t, "topics")
			var channels []pushwire.Channel
			for _, t := range topics {
				channels = append(channels, pushwire.Channel{Topic: t})
			}
			newer := version > m.version
			switch rapid.SampledFrom([]string{"register", "channels", "remove", "unregister", "reopen", "cut", "stop", "spoil"}).Draw(t, "what") {
			case "register":
				_, _, err := r.register(key, "", &pushwire.Register{
					Version: version, Plain: true, Channels: channels, Routes: []pushwire.Route{{Provider: "post", Address: []byte{'0' + byte(who)}}},
				}, now)
				if newer {
					require.NoError(t, err)
					*m = model{version, true, make(map[whisper.Topic]bool)}
					for _, topic := range topics {
						m.channels[topic] = true
					}
				}
			case "channels", "remove":
				remove := len(channels) > 0 && channels[0].Topic[0]%2 == 0
				for i := range channels {
					if remove {
						channels[i].Mode = pushwire.Removed
					}
				}
				_, err := r.update(key, &pushwire.Channels{Version: version, Channels: channels}, now)
				if newer && m.live {
					require.NoError(t, err)
					m.version = version
					for _, topic := range topics {
						if remove {
							delete(m.channels, topic)
						} else {
							m.channels[topic] = true
						}
					}
				}
			case "unregister":
				_, err := r.unregister(key, version, now)
				if newer && m.version > 0 {
					require.NoError(t, err)
					*m = model{version: version}
				}
			case "reopen":
				saved := r.saved
				require.NoError(t, s.Close())
				reopen()
				require.Equal(t, saved, r.saved)
			case "cut":
				saved, left := r.saved, disk.Disk().Crash(rand.New(rand.NewPCG(1, version))).Store("db")
				require.NoError(t, s.Close())
				disk = left
				reopen()
				require.Equal(t, saved, r.saved)
			case "stop":
				require.NoError(t, r.save(context.Background()))
				require.NoError(t, s.Close())
				reopen()
				require.True(t, r.saved)
			case "spoil":
				saved := r.saved
				require.NoError(t, s.Close())
				now, err := os.ReadFile(file)
				require.Equal(t, saved, err == nil, "no file without a record")
				switch {
				case version%3 == 0 && older != nil:
					require.NoError(t, os.WriteFile(file, older, 0o600))
				case version%3 == 1 && saved:
					spoilt := bytes.Clone(now)
					spoilt[int(version)*len(spoilt)/13] ^= 1 << (version % 8)
					require.NoError(t, os.WriteFile(file, spoilt, 0o600))
				default:
					require.NoError(t, os.RemoveAll(file))
				}
				reopen()
				require.False(t, r.saved && older == nil)
				if saved {
					older = now
				}
			}
			size := 0
			for who := range models {
				m := &models[who]
				rec, err := r.lookup([33]byte{byte(who)})
				require.NoError(t, err)
				if m.version == 0 {
					require.Nil(t, rec)
					continue
				}
				require.Equal(t, m.version, rec.Version)
				require.Equal(t, m.live, rec.live())
				_, found := r.get(rec.ID)
				require.Equal(t, m.live, found)
				for n := range byte(4) {
					hit := false
					r.Match(whisper.Topic{n}, now, func(id registration.ID) {
						require.False(t, hit && id == rec.ID, "twice")
						hit = hit || id == rec.ID
					})
					require.Equal(t, m.live && m.channels[whisper.Topic{n}], hit)
				}
				size += len(m.channels)
			}
			require.Equal(t, size, r.index.Size())
			require.Equal(t, size, r.channels)
			r.agrees(t)
		}
		require.NoError(t, s.Close())
	})
}

func FuzzDecodeRecord(f *testing.F) {
	rec := record{
		Registration: registration.Registration{ID: 1, Version: 3, State: registration.Active, Routes: []registration.Route{{Provider: "fcm", Address: pushext.Address{Token: "t", Keys: [][]byte{{1}}}, Proven: true}},
			Registered: time.UnixMilli(1), Expires: time.UnixMilli(2), SealKey: []byte{1}, Group: []byte{2}, Collapse: "c"},
		due: time.UnixMilli(3), challenges: []challenge{{until: time.UnixMilli(4)}}, root: []byte{5}, handle: []byte{6}, revoked: []string{"eve"},
	}
	f.Add(rec.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeRecord(1, b)
		if err != nil {
			require.ErrorIs(t, err, errRecord)
			return
		}
		again, err := decodeRecord(1, got.encode())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzDecodeListening(f *testing.F) {
	rec := record{Registration: registration.Registration{State: registration.Active, Expires: time.UnixMilli(5)},
		channels: []registration.Channel{{Topic: topicA}, {Topic: topicB, Mode: pushwire.Muted, Muted: 7}}}
	f.Add(rec.encodeListening())
	f.Fuzz(func(t *testing.T, b []byte) {
		var got record
		if err := got.decodeListening(b); err != nil {
			require.ErrorIs(t, err, errRecord)
			return
		}
		require.Equal(t, b, got.encodeListening())
	})
}

// A device is told where it and the server are, in numbers that a new
// registration under the same key does not share with the old one.
func TestStanding(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		b.ext.protocol.logID = func() []byte { return []byte("a log") }
		bob := b.phone("bob")
		refused := bob.refused(&pushwire.Status{}, pushwire.NotRegistered).Body.(*pushwire.StatusReply)
		require.Equal(t, pushwire.Standing{Now: millis(time.Now()), Log: []byte("a log")}, refused.Standing, "also for who is not registered")
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
	})
}
