package pushserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/dialguard"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// The attacks here are run with the limits of a server that was not told any,
// and in full: `go test -run Attack -v` tells what an honest device sees meanwhile.

// hosts is a provider with a lane for each host, the token up to a slash, whose
// answers are the test's.
type hosts struct {
	*postbox
	answer func(ctx context.Context, n pushext.Notification) pushext.Verdict // nil: as a postbox

	mu sync.Mutex
}

func newHosts() *hosts { return &hosts{postbox: &postbox{name: "hook", dead: make(map[string]bool)}} }

func (h *hosts) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	h.mu.Lock()
	answer := h.answer
	h.mu.Unlock()
	v := h.postbox.Push(ctx, n)
	if answer != nil {
		return answer(ctx, n)
	}
	return v
}

func (h *hosts) set(answer func(context.Context, pushext.Notification) pushext.Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// endpoints are push services that are named by a URL.
type endpoints struct{ *postbox }

func (endpoints) Check(a pushext.Address) error {
	_, err := dialguard.CheckURL(a.Token, dialguard.Policy{})
	return err
}

func (endpoints) Canonical(a pushext.Address) pushext.Address {
	if u, err := dialguard.CheckURL(a.Token, dialguard.Policy{}); err == nil {
		a.Token = u.String()
	}
	return a
}

func (*hosts) Lane(a pushext.Address) string {
	host, _, _ := strings.Cut(a.Token, "/")
	return host
}

// silent is a host that takes a connection and never answers.
func silent(ctx context.Context, _ pushext.Notification) pushext.Verdict {
	<-ctx.Done()
	return pushext.Verdict{Class: pushext.Retry, Reason: "hook timeout"}
}

// hook is a route to hosts.
func hook(token string) pushwire.Route {
	return pushwire.Route{Provider: "hook", Address: []byte(token)}
}

// newcomerRoom is how many newcomers a server has room for, but under the race detector.
const newcomerRoom = 10_000 / scale

// attackTest is a server with hosts beside the others.
func attackTest(t *testing.T, test func(b *bed, h *hosts)) {
	require.Equal(t, 10_000, Limits{}.WithDefaults().Unconfirmed)
	var h *hosts
	bedTest(t, Limits{Unconfirmed: newcomerRoom}, func(b *bed) { test(b, h) }, func(c *Config) {
		h = newHosts()
		c.Providers = append(c.Providers, h, &wires{links: make(map[string]pushext.Link)})
	})
}

// from puts a phone into a network.
func (p *phone) from(network string) *phone {
	p.bed.mu.Lock()
	defer p.bed.mu.Unlock()
	p.networks[p.peer] = whisper.Source(network)
	return p
}

// routed is registration with other routes.
func (p *phone) routed(routes ...pushwire.Route) *pushwire.Register {
	g := p.registration()
	g.Routes = routes
	return g
}

// attacker registers at a registry without the trouble of a link, as fast as
// the test likes, and has what is challenged answered by a verdict.
type attacker struct {
	*registry.Registry
	verdict pushext.Verdict
	keys    uint32
	version uint64
}

// register registers a new key, from a source.
func (a *attacker) attack(source string, routes []pushwire.Route, channels ...pushwire.Channel) error {
	a.keys++
	var key [33]byte
	binary.BigEndian.PutUint32(key[1:], a.keys) // by the registry's book any 33 bytes are a key
	return a.attackAs(key, source, routes, channels...)
}

func (a *attacker) attackAs(key [33]byte, source string, routes []pushwire.Route, channels ...pushwire.Channel) error {
	a.version++
	_, errands, err := a.Registry.Register(key, whisper.Source(source), &pushwire.Register{
		Version: a.version, Plain: true, Routes: routes, Channels: channels,
	}, time.Now())
	for _, e := range errands {
		a.ChallengeOver(e, a.verdict, time.Now())
	}
	return err
}

// refusedAs tells the code of a refusal, OK for no error.
func refusedAs(t *testing.T, err error) pushwire.Code {
	t.Helper()
	if err == nil {
		return pushwire.OK
	}
	var refused *registration.Refusal
	require.ErrorAs(t, err, &refused)
	return refused.Code
}

// network is one of as many as there are.
func network(i int) string { return fmt.Sprintf("net %d", i) }

// told is what an honest device is told, for the log.
func told(rep *pushwire.Reply) string { return strings.TrimSpace(rep.Code.String() + " " + rep.Text) }

// Challenges that wait for addresses of the attacker's are not sent to an
// address that is registered in their place.
func TestAttackChallengesOfAnotherAddress(t *testing.T) {
	attackTest(t, func(b *bed, h *hosts) {
		h.set(func(context.Context, pushext.Notification) pushext.Verdict {
			return pushext.Verdict{Class: pushext.Retry, Reason: "hook 503"}
		})
		mallory := b.phone("x").from("mallory's")
		for i := range 250 {
			var routes []pushwire.Route
			for j := range 4 {
				routes = append(routes, hook(fmt.Sprintf("mallory/%d", 4*i+j)))
			}
			mallory.ask(mallory.routed(routes...))
			time.Sleep(50 * time.Millisecond) // 20 a second
		}
		victim := pushwire.Route{Provider: "post", Address: []byte("victim")}
		for mallory.ask(mallory.routed(victim)).Code != pushwire.OK {
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		pushes := len(b.post.take("victim"))
		t.Logf("1000 challenges wait for the attacker's addresses, then the victim's takes their place: the victim gets %d push", pushes)
		require.Equal(t, 1, pushes)
		require.Zero(t, b.ext.registry.Counts().Codes, "nothing is held any more")
	})
}

// A host that never answers keeps nobody else from being challenged, and a
// device that is told to come back later has lost nothing by it.
func TestAttackOneHostHoldsTheChallenges(t *testing.T) {
	attackTest(t, func(b *bed, h *hosts) {
		h.set(silent)
		neighbour, honest, other := b.phone("neighbour").from("mallory's"), b.phone("honest"), b.phone("fast/1")
		n := 0
		flood := func(requests int) (busy bool) {
			for range requests {
				var routes []pushwire.Route
				for range 4 {
					n++
					routes = append(routes, hook(fmt.Sprintf("tarpit/%d", n)))
				}
				mallory := b.phone("x").from("mallory's")
				busy = mallory.ask(mallory.routed(routes...)).Code == pushwire.Busy
				time.Sleep(50 * time.Millisecond)
			}
			return busy
		}
		require.True(t, flood(256))
		rep := honest.ask(honest.registration(topicA))
		t.Logf("one host holds 1024 challenges: another network is told: %s", told(rep))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, pushwire.Active, honest.ask(&pushwire.Confirm{Code: honest.code()}).State)
		rep = other.ask(other.routed(hook(other.token)))
		require.Equal(t, pushwire.OK, rep.Code, "at another host of the same provider: %s", rep.Text)

		// A device that shares the attacker's network is told to wait, and gets
		// all its challenges when the attack is over.
		for range 5 {
			for !flood(1) {
			}
			rep = neighbour.ask(neighbour.registration(topicA))
			require.Equal(t, pushwire.Busy, rep.Code, rep.Text)
			require.Equal(t, pushwire.None, rep.State, "nothing is stored")
		}
		t.Logf("one host holds 1024 challenges: who shares the attacker's network is told: %s", told(rep))
		time.Sleep(5 * time.Minute)
		for range 3 {
			require.Equal(t, pushwire.OK, neighbour.ask(neighbour.registration(topicA)).Code)
		}
		require.Len(t, b.post.take("neighbour"), 3)
	})
}

// The same with as many hosts as a wildcard name has, from many networks: it is
// one provider's users who wait.
func TestAttackManyHostsHoldTheChallenges(t *testing.T) {
	const codes = 1024 // to one provider at once
	attackTest(t, func(b *bed, h *hosts) {
		h.set(silent)
		a := &attacker{Registry: b.ext.registry}
		held := 0
		for i := range 4 * codes { // what is on its way stays there
			a.version++
			_, errands, err := a.Registry.Register([33]byte{1, byte(i), byte(i >> 8)}, whisper.Source(network(i)), &pushwire.Register{
				Version: 1, Plain: true, Routes: []pushwire.Route{hook(fmt.Sprintf("%d.evil/", i))},
			}, time.Now())
			if held += len(errands); err != nil {
				require.Equal(t, pushwire.Busy, refusedAs(t, err))
			}
		}
		require.Equal(t, codes, held)
		honest := b.phone("honest")
		rep := honest.ask(honest.registration(topicA))
		t.Logf("4096 hosts of 4096 networks hold %d challenges: a device of another provider is told: %s", held, told(rep))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, pushwire.Active, honest.ask(&pushwire.Confirm{Code: honest.code()}).State)
	})
}

// Garbage spends what its source may name in a day, and nobody else's.
func TestAttackGarbageSpendsTheDay(t *testing.T) {
	for name, verdict := range map[string]pushext.Verdict{"dead": {Class: pushext.TokenDead, Reason: "post 404 gone"}, "taken": {Class: pushext.Delivered}} {
		t.Run(name, func(t *testing.T) {
			attackTest(t, func(b *bed, _ *hosts) {
				a := &attacker{Registry: b.ext.registry, verdict: verdict}
				key, sent := [33]byte{1}, 0
				for i := range 250_000 { // three and a half hours at 20 a second
					var routes []pushwire.Route
					if i%1000 == 0 || sent == i {
						for j := range 4 {
							routes = append(routes, pushwire.Route{Provider: "post", Address: fmt.Appendf(nil, "garbage %d", 4*i+j)})
						}
						if err := a.attackAs(key, "mallory's", routes); err == nil {
							sent++
						} else {
							require.Equal(t, pushwire.Busy, refusedAs(t, err))
						}
					}
					time.Sleep(50 * time.Millisecond)
				}
				t.Logf("250,000 requests of four addresses, which are %s: %d were challenged", name, 4*sent)
				require.LessOrEqual(t, 4*sent, Limits{}.WithDefaults().ChallengedPerSource)
				if verdict.Class == pushext.TokenDead {
					require.LessOrEqual(t, 4*sent, 100, "hardly any garbage reaches the push service")
				}
				honest := b.phone("honest")
				rep := honest.ask(honest.registration(topicA))
				t.Logf("an honest device is told: %s", told(rep))
				require.Equal(t, pushwire.OK, rep.Code, rep.Text)
			})
		})
	}
}

// An address gets three challenges in any 24 hours.
func TestAttackThreeChallengesInADay(t *testing.T) {
	attackTest(t, func(b *bed, _ *hosts) {
		mallory := b.phone("victim")
		var sent []time.Time
		for range 4 * 24 * 60 / scale {
			rep := mallory.ask(mallory.registration())
			if rep.Code == pushwire.OK {
				sent = append(sent, time.Now())
				require.Len(t, b.post.take("victim"), 1)
			} else {
				require.Equal(t, pushwire.Limit, rep.Code, rep.Text)
				require.Empty(t, b.post.take("victim"))
			}
			time.Sleep(scale*time.Minute - time.Second*time.Duration(len(sent)%7))
		}
		for i := range sent[3:] {
			require.GreaterOrEqual(t, sent[i+3].Sub(sent[i]), 24*time.Hour)
		}
		t.Logf("asked for every minute for four days, the victim gets %d pushes, three in any 24 hours", len(sent))
		require.GreaterOrEqual(t, len(sent), 9)
	})
}

// Another spelling of an address is the same address: it gets no challenges of
// its own, and cannot be registered beside it.
func TestAttackSpellings(t *testing.T) {
	urls := endpoints{&postbox{name: "url", dead: make(map[string]bool)}}
	bedTest(t, Limits{}, func(b *bed) {
		const one = "https://push.example.org/u/1"
		url := func(token string) pushwire.Route { return pushwire.Route{Provider: "url", Address: []byte(token)} }
		owner := b.phone(one)
		require.Equal(t, pushwire.OK, owner.ask(owner.routed(url("https://push.example.org./u/1"))).Code)
		codes := urls.take(one)
		require.Len(t, codes, 1, "sent to its one spelling")
		payload, err := pushwire.OpenPayload(codes[0].Body, owner.private)
		require.NoError(t, err)
		require.Equal(t, pushwire.Active, owner.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(payload.Code)}).State)
		rep := owner.ask(owner.routed(url(one)))
		require.Equal(t, pushwire.Active, rep.State, "proven in any spelling: %s", rep.Text)
		owner.refused(owner.routed(url(one), url("HTTPS://push.example.org:443/u/1")), pushwire.BadAddress)

		spellings := []string{
			"https://PUSH.example.org/u/1", "https://push.example.org:443/u/1", "https://push.example.org./u/1",
			"https://push.example.org/u/%31", "HTTPS://push.example.org/u/1", "https://push.example.org/./u/1", "https://push.example.org/%75/1",
		}
		var last *phone
		for _, spelling := range spellings {
			for range 3 {
				p := b.phone(spelling)
				if p.ask(p.routed(url(spelling))).Code == pushwire.OK {
					last = p
				}
				codes = append(codes, urls.take(one)...)
			}
		}
		urls.mu.Lock()
		require.Empty(t, urls.got, "nothing is sent to another spelling")
		urls.mu.Unlock()
		t.Logf("%d spellings of one address, three registrations each: it gets %d challenges", len(spellings), len(codes))
		require.Len(t, codes, 3)

		// And it is owned once.
		payload, err = pushwire.OpenPayload(codes[2].Body, last.private)
		require.NoError(t, err)
		require.Equal(t, pushwire.Active, last.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(payload.Code)}).State)
		rep, _ = owner.status()
		require.Equal(t, pushwire.Dead, rep.State)
		require.Equal(t, "its address was confirmed by another registration", rep.Reason)
	}, func(c *Config) { c.Providers = append(c.Providers, urls) })
}

// Parallel requests do not pass together what one may.
func TestAttackThreeChallengesAtOnce(t *testing.T) {
	attackTest(t, func(b *bed, h *hosts) {
		hold := make(chan struct{})
		h.set(func(context.Context, pushext.Notification) pushext.Verdict {
			<-hold
			return pushext.Verdict{Class: pushext.Delivered}
		})
		taken := 0
		for i := range 8 {
			p := b.phone("x").from(network(i))
			if p.ask(p.routed(hook("host/victim"))).Code == pushwire.OK {
				taken++
			}
		}
		close(hold)
		time.Sleep(time.Hour)
		require.Equal(t, 3, taken)
		require.Len(t, h.take("host/victim"), 3)
	})
}

// What was not sent is not counted: an outage of the push service, a crash.
func TestOutageCostsNoChallenge(t *testing.T) {
	attackTest(t, func(b *bed, h *hosts) {
		h.set(func(context.Context, pushext.Notification) pushext.Verdict {
			return pushext.Verdict{Class: pushext.Retry, Reason: "hook 503"}
		})
		p := b.phone("h/1")
		for range 5 {
			require.Equal(t, pushwire.OK, p.ask(p.routed(hook("h/1"))).Code)
			time.Sleep(2 * time.Minute)
		}
		h.set(nil)
		for range 2 {
			require.Equal(t, pushwire.OK, p.ask(p.routed(hook("h/1"))).Code)
		}

		// One that a restart loses is none either.
		hold := make(chan struct{})
		h.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
			select {
			case <-ctx.Done():
			case <-hold:
			}
			return pushext.Verdict{Class: pushext.Retry, Reason: "hook timeout"}
		})
		require.Equal(t, pushwire.OK, p.ask(p.routed(hook("h/1"))).Code)
		close(hold)
		b.restart()
		h.set(nil)
		require.Equal(t, pushwire.OK, p.ask(p.routed(hook("h/1"))).Code)
		p.refused(p.routed(hook("h/1")), pushwire.Limit)
		synctest.Wait()
	})
}
