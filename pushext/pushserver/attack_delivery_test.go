package pushserver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// throttler takes 240 messages a minute for a device, as FCM documents, and
// answers the others as package fcm says of it.
type throttler struct {
	*postbox

	mu     sync.Mutex
	sent   map[string][]time.Time // by token, of the past minute
	most   map[string]int         // in any minute
	always map[string]bool        // throttled whatever was sent, as by another sender
}

func newThrottler() *throttler {
	return &throttler{
		postbox: &postbox{name: "fcm", dead: make(map[string]bool)},
		sent:    make(map[string][]time.Time), most: make(map[string]int), always: make(map[string]bool),
	}
}

func (f *throttler) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	token, now := n.Address.Token, time.Now()
	f.mu.Lock()
	sent := append(f.sent[token], now)
	for now.Sub(sent[0]) >= time.Minute {
		sent = sent[1:]
	}
	f.sent[token] = sent
	f.most[token] = max(f.most[token], len(sent))
	over := len(sent) > 240 || f.always[token]
	f.mu.Unlock()
	if over {
		return pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeAddress, At: now.Add(time.Minute), Reason: "fcm 429 QUOTA_EXCEEDED"}
	}
	return f.postbox.Push(ctx, n)
}

func fcm(token string) pushwire.Route {
	return pushwire.Route{Provider: "fcm", Address: []byte(token)}
}

// confirmed registers with one route and confirms by what came to it.
func (p *phone) confirmed(at *postbox, g *pushwire.Register, topics ...whisper.Topic) {
	p.t.Helper()
	for _, t := range topics {
		g.Channels = append(g.Channels, pushwire.Channel{Topic: t})
	}
	rep := p.ask(g)
	require.Equal(p.t, pushwire.OK, rep.Code, rep.Text)
	got := at.take(string(g.Routes[0].Address))
	require.NotEmpty(p.t, got)
	payload, err := pushwire.OpenPayload(got[len(got)-1].Body, p.private)
	require.NoError(p.t, err)
	rep = p.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(payload.Code)})
	require.Equal(p.t, pushwire.Active, rep.State, rep.Text)
}

// shout sends a request and does not look at what comes back.
func (p *phone) shout(body pushwire.RequestBody) {
	p.t.Helper()
	env, err := pushwire.SealRequest(context.Background(), pushwire.NewRequest(body, time.Now()), p.key, &p.cfg.PushKey.PublicKey, 0)
	require.NoError(p.t, err)
	p.ext.HandleRequest(p.peer, env.Raw())
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sent, p.peer)
}

// A device that exceeds the rate of its push service delays nobody but itself,
// whatever its owner does to exceed it.
func TestAttackThrottledDevice(t *testing.T) {
	const second = 20 // steps in one, as a peer may make requests
	for name, attack := range map[string]func(b *bed, f *throttler, h *hosts) (step func(i int)){
		"challenges of all its routes are sent to one token": func(b *bed, f *throttler, h *hosts) func(int) {
			h.set(func(context.Context, pushext.Notification) pushext.Verdict {
				return pushext.Verdict{Class: pushext.Retry, Reason: "hook 503"}
			})
			mallory := b.phone("x").from("mallory's")
			return func(i int) {
				if i%second == 19 {
					mallory.shout(mallory.routed(fcm("mallory")))
					return
				}
				var routes []pushwire.Route
				for j := range 4 {
					routes = append(routes, hook(fmt.Sprintf("h/%d-%d", i, j)))
				}
				mallory.shout(mallory.routed(routes...))
			}
		},
		"it is woken, and dismissed, all the time": func(b *bed, f *throttler, _ *hosts) func(int) {
			phones := []*phone{b.phone("mallory").from("mallory's"), b.phone("mallory's other").from("mallory's")}
			for _, p := range phones {
				g := p.routed(fcm(p.token))
				g.Group = make([]byte, pushwire.MaxGroup)
				g.Channels = []pushwire.Channel{{Topic: topicB}}
				p.confirmed(f.postbox, g)
			}
			return func(int) {
				env := b.envelope(topicB)
				for i, p := range phones {
					if len(f.take(p.token)) > 0 && i == 0 {
						p.shout(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
					} else {
						p.shout(&pushwire.Seen{Hashes: []common.Hash{env.Hash()}})
					}
				}
			}
		},
		"another sender exceeds it": func(b *bed, f *throttler, _ *hosts) func(int) {
			for i := range 4 {
				p := b.phone(fmt.Sprintf("mallory %d", i)).from("mallory's")
				p.confirmed(f.postbox, p.routed(fcm(p.token)), topicB)
				f.always[p.token] = true
			}
			return func(int) { b.envelope(topicB) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, h := newThrottler(), newHosts()
			bedTest(t, Limits{}, func(b *bed) {
				bob := b.phone("bob")
				bob.confirmed(f.postbox, bob.routed(fcm("bob")), topicA)
				step := attack(b, f, h)
				worst := time.Duration(0)
				for i := range 180 * second {
					step(i)
					time.Sleep(time.Second / second)
					if i%(10*second) != 0 {
						continue
					}
					began := time.Now()
					env := b.envelope(topicA)
					for len(f.take("bob")) == 0 {
						time.Sleep(time.Millisecond)
					}
					worst = max(worst, time.Since(began))
					bob.shout(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
				}
				synctest.Wait()
				f.mu.Lock()
				defer f.mu.Unlock()
				most := 0
				for token, n := range f.most {
					if token != "bob" {
						most = max(most, n)
					}
				}
				t.Logf("%s: at most %d pushes a minute to one token, of 240; another device's wake-up is late by %v at most", name, most, worst)
				require.LessOrEqual(t, worst, 10*time.Millisecond)
				require.Positive(t, most)
				require.Less(t, most, 240)
			}, func(c *Config) { c.Providers = append(c.Providers, f, h) })
		})
	}
}

// enlist registers devices of an attacker's and confirms them, without the
// trouble of links: one for each route, 250 to a topic, which is no crowd.
func (b *bed) enlist(routes []pushwire.Route) (topics []whisper.Topic) {
	b.t.Helper()
	r := b.ext.registry
	for i, route := range routes {
		topic := whisper.Topic{9, byte(i / 250)}
		if i%250 == 0 {
			topics = append(topics, topic)
		}
		key := [33]byte{2, byte(i >> 8), byte(i)}
		_, errands, err := r.Register(key, whisper.Source(network(i/250)), &pushwire.Register{
			Version: 1, Plain: true, Routes: []pushwire.Route{route}, Channels: []pushwire.Channel{{Topic: topic}},
		}, time.Now())
		require.NoError(b.t, err)
		require.Len(b.t, errands, 1)
		r.ChallengeOver(errands[0], pushext.Verdict{Class: pushext.Delivered}, time.Now())
		rec, err := r.Confirm(key, func(code [pushwire.CodeSize]byte) bool { return code == errands[0].Code }, time.Now())
		require.NoError(b.t, err)
		require.Equal(b.t, registration.Active, rec.State)
	}
	return topics
}

// Hosts that keep the server waiting delay nobody else, however many names they
// have: neither devices that are woken through a service of the operator nor
// those with a host of their own.
func TestAttackTarpitHosts(t *testing.T) {
	const devices, hosts, honest, hooks = 5000, 2500, 200, 20
	for name, row := range map[string]struct {
		host func(i int) string
		hang time.Duration
	}{
		"names under one domain":                      {func(i int) string { return fmt.Sprintf("%d.evil.example", i) }, time.Hour},
		"a domain each":                               {func(i int) string { return fmt.Sprintf("evil-%d.example", i) }, time.Hour},
		"a domain each, which answers in the end":     {func(i int) string { return fmt.Sprintf("evil-%d.example", i) }, 4900 * time.Millisecond},
		"a domain each, which answers almost at once": {func(i int) string { return fmt.Sprintf("evil-%d.example", i) }, 900 * time.Millisecond},
		"a network each":                              {func(i int) string { return fmt.Sprintf("203.%d.%d.1:8443", i>>8, i&255) }, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHosts()
			bedTest(t, Limits{}, func(b *bed) {
				var routes []pushwire.Route
				for i := range devices {
					routes = append(routes, hook(fmt.Sprintf("%s/%d", row.host(i%hosts), i)))
				}
				topics := b.enlist(routes)
				var phones []*phone
				for i := range honest {
					p := b.phone(fmt.Sprintf("honest %d", i)).from(network(1000 + i))
					p.join(p.registration(topicA))
					phones = append(phones, p)
				}
				for i := range hooks {
					p := b.phone(fmt.Sprintf("h%d.example/honest", i)).from(network(2000 + i))
					p.confirmed(h.postbox, p.routed(hook(p.token)), topicA)
					phones = append(phones, p)
				}
				h.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
					pause := row.hang
					if strings.HasSuffix(n.Address.Token, "/honest") {
						pause = 50 * time.Millisecond
					}
					ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // as webhook and webpush give a host
					defer cancel()
					select {
					case <-ctx.Done():
						return pushext.Verdict{Class: pushext.Retry, Reason: "hook timeout"}
					case <-time.After(pause):
						return pushext.Verdict{Class: pushext.Delivered}
					}
				})

				var late [3]struct{ other, own time.Duration } // by round
				for round := range late {
					for _, topic := range topics {
						b.archive.take(b.letter(topic))
					}
					synctest.Wait()
					began := time.Now()
					env := b.envelope(topicA)
					waiting := make(map[string]bool)
					for _, p := range phones {
						waiting[p.token] = true
					}
					for len(waiting) > 0 && time.Since(began) < time.Hour {
						for token := range waiting {
							worst, at := &late[round].other, b.post
							if strings.HasSuffix(token, "/honest") {
								worst, at = &late[round].own, h.postbox
							}
							if len(at.take(token)) > 0 {
								delete(waiting, token)
								*worst = max(*worst, time.Since(began))
							}
						}
						if len(waiting) > 0 {
							time.Sleep(100 * time.Millisecond)
						}
					}
					require.Empty(t, waiting)
					for _, p := range phones {
						p.shout(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
					}
					time.Sleep(10 * time.Second)
				}
				for round, worst := range late {
					t.Logf("%s, round %d: %d devices at %d tarpit hosts: the slowest wake-up of %d through another provider came after %v, of %d at hosts of their own after %v",
						name, round+1, devices, hosts, honest, worst.other, hooks, worst.own)
					require.LessOrEqual(t, worst.other, 100*time.Millisecond)
					require.LessOrEqual(t, worst.own, PromisedLatency)
					if round > 0 && row.hang > time.Second {
						require.LessOrEqual(t, worst.own, 100*time.Millisecond, "they are known by now")
					}
				}
			}, func(c *Config) { c.Providers = append(c.Providers, h) })
		})
	}
}
