package pushserver

import (
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// manyChannels are n channels that only one registration has.
func manyChannels(n, who int) []pushwire.Channel {
	channels := make([]pushwire.Channel, n)
	for i := range channels {
		channels[i].Topic = whisper.Topic{byte(i), byte(i >> 8), byte(who), byte(who >> 8)}
	}
	return channels
}

func post(token string) pushwire.Route {
	return pushwire.Route{Provider: "post", Address: []byte(token)}
}

// Dead addresses prove nothing: a device that registers them is told so,
// and takes room only from those that never proved anything.
func TestAttackDeadChallengesFillTheServer(t *testing.T) {
	attackTest(t, func(b *bed, _ *hosts) {
		old := b.phone("old")
		old.join(old.registration(topicA))
		r := b.ext.registry
		a := &attacker{Registry: r, verdict: pushext.Verdict{Class: pushext.TokenDead, Reason: "post 404 gone"}}
		channels := manyChannels(1000, 0)
		for i := range 2 * newcomerRoom { // 79 networks with 256 each
			_ = a.attack(network(i%79), []pushwire.Route{post(fmt.Sprint("garbage ", i))}, channels...)
			time.Sleep(time.Millisecond)
		}
		t.Logf("20,000 dead addresses with 1000 channels each: unconfirmed, registered, tombstones %v; channels %d", counts(b), r.Counts().Channels)
		require.Equal(t, 1, counts(b)[registered], "who proved an address")
		require.Equal(t, 1, r.Counts().Channels)
		late := b.phone("late")
		late.join(late.registration(topicA))
		time.Sleep(15 * time.Minute)
		require.Equal(t, [3]int{registered: 2}, counts(b))
		rep := old.ask(old.registration(topicA))
		t.Logf("a quarter of an hour later a renewal is told: %s", told(rep))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		honest := b.phone("honest")
		rep = honest.ask(honest.registration(topicA))
		t.Logf("a quarter of an hour later a new device is told: %s", told(rep))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
	})
}

// A device that never proved anything, and whose address is dead, is told
// so. It may neither fetch nor say what was seen, and nothing is matched
// for it.
func TestAttackDeadMayNotFetch(t *testing.T) {
	attackTest(t, func(b *bed, _ *hosts) {
		env := b.envelope(topicB)
		a := b.phone("garbage")
		b.post.dead["garbage"] = true
		require.Equal(t, pushwire.OK, a.ask(a.registration(topicA)).Code)
		rep, status := a.status()
		require.Equal(t, pushwire.Dead, rep.State)
		require.Equal(t, "post 404 gone", rep.Reason)
		require.Empty(t, status.Channels)
		require.Equal(t, pushwire.OK, a.ask(a.registration(topicA)).Code, "he may try again")
		for _, body := range []pushwire.RequestBody{&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}}, &pushwire.Seen{Hashes: []common.Hash{env.Hash()}}} {
			rep := a.ask(body)
			require.Equal(t, pushwire.Unconfirmed, rep.Code)
			require.Equal(t, pushwire.Dead, rep.State)
			t.Logf("a dead address: %s is answered: %s", body.Kind(), told(rep))
		}
		a.token = "another"
		require.Equal(t, pushwire.Waiting, a.ask(a.registration(topicA)).State)
		require.Zero(t, b.ext.registry.Counts().Indexed)
		require.Equal(t, [3]int{unconfirmed: 1}, counts(b))
		require.Equal(t, pushwire.Active, a.ask(&pushwire.Confirm{Code: a.code()}).State, "proof is proof")
		require.Equal(t, 1, b.ext.registry.Counts().Indexed)

		// Once proven it stays so: dead, it fetches on.
		b.post.dead["a third"] = true
		a.token = "a third"
		require.Equal(t, pushwire.OK, a.ask(a.registration(topicA)).Code)
		rep = a.ask(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, pushwire.Dead, rep.State)
		require.Equal(t, [3]int{registered: 1}, counts(b))

		// It is forgotten as if the code had not been answered.
		other := b.phone("garbage")
		require.Equal(t, pushwire.OK, other.ask(other.registration(topicA)).Code)
		require.Equal(t, pushwire.OK, other.ask(&pushwire.Status{}).Code)
		time.Sleep(12 * time.Minute)
		other.refused(&pushwire.Status{}, pushwire.NotRegistered)
	})
}

// One of several addresses that is dead ends nothing while another waits for
// its code.
func TestDeadAddressBesideOthers(t *testing.T) {
	attackTest(t, func(b *bed, h *hosts) {
		p := b.phone("alive")
		b.post.dead["gone"], h.dead["h/gone"] = true, true
		require.Equal(t, pushwire.OK, p.ask(p.routed(post("gone"), post("alive"))).Code)
		rep, _ := p.status()
		require.Equal(t, pushwire.Waiting, rep.State)
		require.Equal(t, pushwire.Active, p.ask(&pushwire.Confirm{Code: p.code()}).State)

		all := b.phone("none")
		require.Equal(t, pushwire.OK, all.ask(all.routed(post("gone"), hook("h/gone"))).Code)
		rep, _ = all.status()
		require.Equal(t, pushwire.Dead, rep.State, "none is left")
	})
}

// A renewal that does not grow is refused for no limit that others reached: those of a
// network, a group, a handle and an address, and what all registrations share.
func TestRenewalWithFullShares(t *testing.T) {
	const fewer = scale * scale // a million registrations take two minutes without the race detector
	limits := Limits{Registrations: 1_000_000 / fewer, PerSource: 4096 / fewer}
	require.Equal(t, Limits{}.WithDefaults().Registrations, fewer*limits.Registrations)
	require.Equal(t, Limits{}.WithDefaults().PerSource/fewer, limits.PerSource)
	bedTest(t, limits, func(b *bed) {
		full := Limits{}.WithDefaults()
		a := &attacker{Registry: b.ext.registry, verdict: pushext.Verdict{Class: pushext.Delivered}}
		keys := uint32(0)
		fill := func(n int, network string, edit func(g *pushwire.Register)) (in int) { // as many of n as are let in
			for in = range n {
				keys++
				var key [33]byte
				binary.BigEndian.PutUint32(key[:], 3<<24|keys)
				g := &pushwire.Register{Version: 1, Plain: true, Routes: []pushwire.Route{{Provider: "free", Address: binary.BigEndian.AppendUint32(nil, keys)}}}
				edit(g)
				_, _, err := a.Register(key, whisper.Source(network), g, time.Now())
				if err != nil {
					require.Equal(t, pushwire.Limit, refusedAs(t, err), "%v", err)
					return in
				}
			}
			return n
		}
		const most = 1000
		mine := make([]whisper.Topic, most)
		for i := range mine {
			mine[i] = whisper.Topic{1, byte(i), byte(i >> 8)}
		}
		shared := func(p *phone, topics ...whisper.Topic) *pushwire.Register {
			g := p.registration(topics...)
			g.Group = []byte("group")
			g.Preferences = pushwire.Preferences{Root: make([]byte, pushwire.RootSize), Handle: make([]byte, pushwire.HandleSize)}
			return g
		}
		one := b.phone("one").from("a network")
		one.join(shared(one, mine[:most-1]...))

		// Others fill what it has a share in.
		group, handle := full.PerGroup-full.PerHandle, full.PerHandle-1
		require.Equal(t, group, fill(group, "members", func(g *pushwire.Register) { g.Group = []byte("group") }))
		require.Equal(t, handle, fill(handle, "members", func(g *pushwire.Register) {
			g.Group, g.Preferences = []byte("group"), shared(one).Preferences
		}))
		any := func(*pushwire.Register) {}
		require.Equal(t, limits.PerSource-1, fill(limits.PerSource, "a network", any))
		require.Equal(t, limits.PerSource, fill(limits.PerSource+1, "another network", any))
		free := func() int { return limits.Registrations - counts(b)[registered] }
		for n := 0; free() > 10; n++ {
			fill(limits.PerSource, fmt.Sprint("network ", n), any)
		}
		refused := b.phone("refused").from("a network")
		refused.refused(refused.registration(), pushwire.Limit)
		stranger := b.phone("stranger").from("a third network")
		stranger.join(stranger.registration())

		for _, from := range []string{"a network", "another network", "a third network", "a network"} {
			one.from(from)
			rep := one.ask(shared(one, mine[:most-1]...))
			require.Equal(t, pushwire.OK, rep.Code, "from %s: %s", from, rep.Text)
			require.Equal(t, pushwire.Active, rep.State)
			one.version++
			rep = one.ask(&pushwire.Channels{Version: one.version, Channels: []pushwire.Channel{{Topic: mine[0], Mode: pushwire.Muted}}})
			require.Equal(t, pushwire.OK, rep.Code, rep.Text)
			one.refused(shared(one, append(mine, topicA)...), pushwire.Limit)
		}
		t.Logf("%d of %d registrations: one of them renews from four networks, and a new device of a fifth finds room", counts(b)[registered], limits.Registrations)
	}, func(c *Config) {
		free := &postbox{name: "free", dead: make(map[string]bool)}
		c.Providers = append(c.Providers, free)
		c.SkipChallenge = append(c.SkipChallenge, "free")
	})
}

// An address still belongs to its owner when others who proved something else claim it.
func TestAttackClaimsKeepTheOwnerOut(t *testing.T) {
	attackTest(t, func(b *bed, _ *hosts) {
		var claimants []*phone
		for i := range 8 {
			a := b.phone(fmt.Sprintf("mine %d", i))
			a.join(a.registration())
			g := a.registration()
			g.Routes = append(g.Routes, post("victim"))
			require.Equal(t, pushwire.OK, a.ask(g).Code)
			claimants = append(claimants, a)
			time.Sleep(9 * time.Hour)
		}
		b.post.take("victim")
		time.Sleep(24 * time.Hour)
		victim := b.phone("victim")
		rep := victim.ask(victim.registration(topicA))
		t.Logf("eight who proved addresses of their own claim this one: its owner is told: %s", told(rep))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)

		// Only the claim gave way, and the oldest; a renewal is no new claim.
		for i, a := range claimants {
			rep, status := a.status()
			require.Equal(t, pushwire.Active, rep.State)
			require.Len(t, status.Routes, 2-max(0, 1-i), "claimant %d", i)
		}
		require.Equal(t, pushwire.Active, victim.ask(&pushwire.Confirm{Code: victim.code()}).State)

		// The owner is none that gives way.
		for i := range 20 {
			a := b.phone(fmt.Sprintf("yet another %d", i))
			rep := a.ask(a.routed(post("victim")))
			require.Contains(t, []pushwire.Code{pushwire.OK, pushwire.Limit}, rep.Code)
			time.Sleep(9 * time.Hour)
		}
		rep, _ = victim.status()
		require.Equal(t, pushwire.Active, rep.State)
	})
}

// Registrations over links alone push out no device that proves an address.
func TestAttackLinksPushOutProvers(t *testing.T) {
	attackTest(t, func(b *bed, _ *hosts) {
		linked := func(i int) ([33]byte, []pushwire.Route) {
			key := [33]byte{7, byte(i), byte(i >> 8)}
			return key, []pushwire.Route{{Provider: "direct", Address: key[:]}}
		}
		a := &attacker{Registry: b.ext.registry}
		for i := range newcomerRoom {
			key, routes := linked(i)
			require.NoError(t, a.attackAs(key, network(i%400), routes))
		}
		require.Equal(t, newcomerRoom, counts(b)[unconfirmed])
		first := b.phone("first")
		require.Equal(t, pushwire.OK, first.ask(first.registration(topicA)).Code)
		code := first.code()
		for i := range newcomerRoom / 10 {
			p := b.phone(fmt.Sprint(i))
			require.Equal(t, pushwire.OK, p.ask(p.registration(topicA)).Code)
			key, routes := linked(newcomerRoom + i)
			require.NoError(t, a.attackAs(key, network(500+i%400), routes))
		}
		rep := first.ask(&pushwire.Confirm{Code: code})
		t.Logf("11,000 registrations over links: who was challenged before the last 1000 of them confirms: %s", told(rep))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
	})
}

// A device that registers during a flood of other registrations has the time to
// confirm.
func TestAttackFloodWhileOneRegisters(t *testing.T) {
	for name, networks := range map[string]int{"of 400 networks": 400, "of as many networks as there is room": newcomerRoom} {
		t.Run(name, func(t *testing.T) {
			attackTest(t, func(b *bed, _ *hosts) {
				a := &attacker{Registry: b.ext.registry, verdict: pushext.Verdict{Class: pushext.Delivered}}
				n := 0
				flood := func(registrations int) {
					for range registrations {
						n++
						require.NoError(t, a.attack(network(n%networks), []pushwire.Route{post(fmt.Sprint("flood ", n))}))
						time.Sleep(time.Second / 680) // 34 links, each with 20 a second
					}
				}
				flood(newcomerRoom * 6 / 5)
				honest := b.phone("honest")
				require.Equal(t, pushwire.OK, honest.ask(honest.registration(topicA)).Code)
				flood(680 * 10 / scale)
				rep := honest.ask(&pushwire.Confirm{Code: honest.code()})
				t.Logf("a flood %s, 680 a second: who registers in the midst of it and takes 10 s confirms: %s", name, told(rep))
				require.Equal(t, pushwire.OK, rep.Code, rep.Text)
				require.LessOrEqual(t, counts(b)[unconfirmed], newcomerRoom)
			})
		})
	}
}

// Somebody who was given a handle cannot keep its owner's devices from
// using it, and does not receive what is meant for them.
func TestAttackHandleOfAnother(t *testing.T) {
	attackTest(t, func(b *bed, _ *hosts) {
		root, handle := make([]byte, pushwire.RootSize), [pushwire.HandleSize]byte{1}
		root[0] = 1
		owned := func(p *phone) *pushwire.Register {
			g := p.registration(topicA)
			g.Preferences = pushwire.Preferences{Root: root, Handle: handle[:]}
			return g
		}
		squat := func(i int, prove bool) *pushwire.Reply {
			eve := b.phone(fmt.Sprintf("eve %d", i))
			g := eve.registration()
			g.Preferences = pushwire.Preferences{Root: make([]byte, pushwire.RootSize), Handle: handle[:]}
			g.Preferences.Root[0], g.Preferences.Root[1] = 7, byte(i)
			rep := eve.ask(g)
			if prove && rep.Code == pushwire.OK {
				require.Equal(t, pushwire.OK, eve.ask(&pushwire.Confirm{Code: eve.code()}).Code)
			}
			return rep
		}
		phone := b.phone("bob's phone")
		phone.join(owned(phone))
		for i := range 100 {
			squat(i, i%2 == 0)
		}
		tablet := b.phone("bob's tablet")
		rep := tablet.ask(owned(tablet))
		t.Logf("a hundred others register the handle: its owner's next device is told: %s", told(rep))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, pushwire.Active, tablet.ask(&pushwire.Confirm{Code: tablet.code()}).State)
		recs, err := b.ext.registry.ByHandle(handle[:])
		require.NoError(t, err)
		require.LessOrEqual(t, len(recs), 16*4, "of sixteen roots")

		// Notify finds both.
		letter := b.letter(topicB)
		alice := b.phone("alice")
		require.Equal(t, pushwire.OK, alice.ask(pushwire.NewNotify(pushwire.Capability(root, "alice"), handle, "alice", letter.Hash(), pushwire.NotifyMessage, b.server())).Code)
		b.archive.take(letter)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, phone.payloads(), 1)
		require.Len(t, tablet.payloads(), 1)

		// The owner's own devices are counted as ever.
		for i := range 2 {
			p := b.phone(fmt.Sprint("bob's other ", i))
			require.Equal(t, pushwire.OK, p.ask(owned(p)).Code)
		}
		fifth := b.phone("bob's fifth")
		fifth.refused(owned(fifth), pushwire.Limit)
	})
}
