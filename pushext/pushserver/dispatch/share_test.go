package dispatch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

func TestSiteOf(t *testing.T) {
	for lane, want := range map[string]string{
		"push.example.org":             "example.org",
		"push.example.org:8443":        "example.org",
		"example.org":                  "example.org",
		"a.b.c.d.example.org:1":        "example.org",
		"PUSH.Example.ORG.":            "example.org",
		"up.example.co.uk":             "example.co.uk",
		"example.co.uk":                "example.co.uk",
		"me.duckdns.org":               "me.duckdns.org", // of another owner than the next
		"x.you.duckdns.org":            "you.duckdns.org",
		"duckdns.org":                  "duckdns.org",
		"1.evil":                       "1.evil",
		"localhost:8080":               "localhost",
		"wns2-by3p.notify.windows.com": "windows.com",
		"198.51.100.7:443":             "198.51.100.0/24",
		"198.51.100.200":               "198.51.100.0/24",
		"[2600:1:2:3::4]:443":          "2600:1:2::/48",
		"[2600:1:2:ffff::1]":           "2600:1:2::/48",
		"2600:1:2:3::5":                "2600:1:2::/48",
		"127.0.0.1:9000":               "127.0.0.1",
		"10.0.0.7:80":                  "10.0.0.7",
		"":                             "",
	} {
		require.Equal(t, want, siteOf(lane), lane)
	}
}

// What MaxInFlight leaves for whom.
func TestMaxInFlightIsDivided(t *testing.T) {
	one := func(n int) (all []pushext.Provider) {
		for i := range n {
			all = append(all, &scripted{name: fmt.Sprintf("fcm-%d", i)})
		}
		return all
	}
	hosts, links := hosted{&scripted{name: "webpush"}}, cables{hosted{&scripted{name: "direct"}}}
	others := hosted{&scripted{name: "webhook"}}
	for name, row := range map[string]struct {
		cfg                Delivery
		providers          []pushext.Provider
		each, links, hosts int // attempts at once; 0: there is no such share
	}{
		"nothing":            {Delivery{}, nil, 0, 0, 0},
		"one":                {Delivery{}, one(1), 64, 0, 0},
		"all kinds":          {Delivery{}, append(one(3), hosts, others, links), 64, 128, 1024 - 3*64 - 128},
		"hosts alone":        {Delivery{}, []pushext.Provider{hosts, others}, 0, 0, 1024},
		"links alone":        {Delivery{}, []pushext.Provider{links}, 0, 1024, 0},
		"very many":          {Delivery{}, append(one(30), hosts, links), 32, 32, 32},
		"few attempts":       {Delivery{MaxInFlight: 10}, append(one(3), hosts), 2, 0, 4},
		"one attempt each":   {Delivery{MaxInFlight: 5}, append(one(3), hosts, links), 1, 1, 1},
		"much concurrency":   {Delivery{Concurrency: 1000}, append(one(1), hosts), 512, 0, 512},
		"little concurrency": {Delivery{Concurrency: 1}, append(one(1), hosts, links), 1, 2, 1021},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, row.cfg, row.providers...)
				r.start()
				defer r.stop()
				for name, p := range *r.dispatcher.lines.Load() {
					switch name {
					case "webpush", "webhook":
						require.Equal(t, row.hosts, p.share.limit)
						require.Equal(t, 16, p.share.perSite)
					case "direct":
						require.Equal(t, row.links, p.share.limit)
						require.Equal(t, 4, p.share.perSite)
					default:
						require.Nil(t, p.share)
						require.Equal(t, row.each, p.limit)
					}
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Delivery{MaxInFlight: 2})
		r.start()
		defer r.stop()
		_, err := New(Options{Delivery: r.cfg, Providers: append(one(2), hosts), Directory: r.dir, Outbox: r.box, Logger: r.dispatcher.log})
		require.ErrorIs(t, err, errDelivery)
		require.ErrorContains(t, err, "MaxInFlight is 2")
	})
}

// tarpits is a hosted provider that counts attempts at once, by host, by site and
// in all, and answers after the time that is part of a host's name.
type tarpits struct {
	hosted
	flying, most map[string]int
}

func newTarpits() *tarpits {
	p := &tarpits{hosted{&scripted{name: "webhook"}}, make(map[string]int), make(map[string]int)}
	p.set(func(ctx context.Context, n pushext.Notification) pushext.Verdict {
		host := p.Lane(n.Address)
		count := func(by int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, of := range []string{"all", host, "site " + siteOf(host)} {
				p.flying[of] += by
				p.most[of] = max(p.most[of], p.flying[of])
			}
		}
		count(1)
		defer count(-1)
		text, _, _ := strings.Cut(host, ".")
		pause, err := time.ParseDuration(text)
		if err != nil {
			pause = 0
		}
		select {
		case <-time.After(pause):
			return pushext.Verdict{Class: pushext.Delivered}
		case <-ctx.Done():
			return pushext.Verdict{Class: pushext.Retry, Reason: "webhook cancelled"}
		}
	})
	return p
}

// No bound is ever exceeded, whatever comes when, and everything is delivered.
func TestSharesAreKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := Delivery{
			MaxInFlight:     rapid.IntRange(1, 20).Draw(rt, "max in flight"),
			HostConcurrency: rapid.IntRange(1, 4).Draw(rt, "host concurrency"),
			SilentAfter:     -1,
		}
		sites := rapid.IntRange(1, 6).Draw(rt, "sites")
		rings := rapid.SliceOfN(rapid.IntRange(0, 59), 1, 200).Draw(rt, "devices to ring")
		pauses := rapid.SliceOfN(rapid.SampledFrom([]int{0, 0, 0, 0, 50, 900}), len(rings), len(rings)).Draw(rt, "pauses in ms")
		synctest.Test(t, func(t *testing.T) {
			p := newTarpits()
			r := newRig(t, cfg, p)
			for i := range 60 {
				pause := []string{"0s", "20ms", "700ms", "1500ms", "6s"}[i%5]
				r.device(registration.ID(i+1), fmt.Sprintf("webhook %s.h%d.s%d.example/%d", pause, i%7, i%sites, i))
			}
			r.start()
			defer r.stop()
			rung := make(map[int]bool)
			for i, device := range rings {
				r.log.Archive(topicOf(registration.ID(device + 1)))
				rung[device] = true
				time.Sleep(time.Duration(pauses[i]) * time.Millisecond)
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			delivered := make(map[string]bool)
			for _, sent := range p.pushes {
				if sent.Class == pushext.Delivered {
					delivered[sent.Address.Token] = true
				}
			}
			require.Len(t, delivered, len(rung))
			for of, most := range p.most {
				limit := cfg.HostConcurrency
				switch {
				case of == "all":
					limit = cfg.MaxInFlight
				case strings.HasPrefix(of, "site "):
					limit = siteHosts * cfg.HostConcurrency
				}
				require.LessOrEqual(t, most, limit, of)
			}
			r.dispatcher.mu.Lock()
			defer r.dispatcher.mu.Unlock()
			share := r.dispatcher.shares[0]
			require.Zero(t, share.flying+share.leaving+share.flights.Len()+share.quick.len()+share.slow.len())
			require.Zero(t, r.dispatcher.flying)
			require.Len(t, share.sites, 0)
		})
	})
}

// An attempt that nobody answers gives its place to a site that answers, and only
// if that waits for one; a slow host is waited for as long as there is room.
func TestWhoAnswersGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTarpits()
		r := newRig(t, Delivery{MaxInFlight: 4}, p)
		r.device(1, "webhook 3s.slow.example/x")
		for i := range 10 {
			r.device(registration.ID(10+i), fmt.Sprintf("webhook 1h.tarpit%d.example/x", i))
		}
		r.device(2, "webhook 0s.quick.example/x")
		r.start()
		defer r.stop()
		ring := func(id registration.ID) time.Time {
			r.log.Archive(topicOf(id))
			synctest.Wait()
			return time.Now()
		}
		began := ring(1)
		time.Sleep(time.Minute)
		require.Equal(t, began.Add(3*time.Second), p.to("3s.slow.example/x")[0].At, "it is waited for")

		for i := range 4 {
			ring(registration.ID(10 + i)) // all places
		}
		time.Sleep(400 * time.Millisecond)
		began = ring(2)
		time.Sleep(300 * time.Millisecond)
		require.Empty(t, p.to("0s.quick.example/x"))
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		got := p.to("0s.quick.example/x")
		require.Len(t, got, 1)
		require.Equal(t, began.Add(600*time.Millisecond), got[0].At, "a second after the first of the others")
		require.Len(t, p.all(), 3, "and that one alone gave way")
		require.Equal(t, pushext.Retry, p.all()[1].Class)

		for i := range 6 {
			ring(registration.ID(14 + i))
		}
		time.Sleep(2 * time.Second)
		for range 5 { // they are known by now, and go first no more
			began = ring(2)
			time.Sleep(time.Second)
			synctest.Wait()
			got = p.to("0s.quick.example/x")
			require.LessOrEqual(t, got[len(got)-1].At.Sub(began), time.Second)
		}
	})
}
