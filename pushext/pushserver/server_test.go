package pushserver

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
)

func TestBadConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{})
		good := b.cfg
		b.stop()
		for want, change := range map[string]func(*Config){
			"push needs a directory":                                                  func(c *Config) { c.Dir, c.storage = "", nil },
			"push needs a push key":                                                   func(c *Config) { c.PushKey = nil },
			"push disk key has 3 bytes, want 32":                                      func(c *Config) { c.DiskKey = []byte{1, 2, 3} },
			"push needs an archive's log and envelopes, and a sender":                 func(c *Config) { c.Log = nil },
			`challenges are switched off for provider "fmc", which is not configured`: func(c *Config) { c.SkipChallenge = []string{"fmc"} },
			`two providers are named "post"`: func(c *Config) {
				c.Providers = []pushext.Provider{&postbox{name: "post"}, &postbox{name: "post"}}
			},
			`provider name "Post!" has characters other than a-z, 0-9 and -`: func(c *Config) {
				c.Providers = []pushext.Provider{&postbox{name: "Post!"}}
			},
			"TTL is negative":                  func(c *Config) { c.Delivery.TTL = -time.Second },
			`budget of unknown provider "fmc"`: func(c *Config) { c.Delivery.Budgets = map[string]pushext.Budget{"fmc": {Burst: 1}} },
			vault.ErrDiskKey.Error():           func(c *Config) { c.DiskKey = bytes.Repeat([]byte{9}, vault.DiskKeySize) },
		} {
			cfg := good
			cfg.Registerer = prometheus.NewRegistry()
			change(&cfg)
			_, err := New(cfg)
			require.ErrorContains(t, err, want)
		}
		time.Sleep(2 * time.Second)
		b.cfg.Registerer = prometheus.NewRegistry()
		b.start() // none of them held the database
		b.stop()
	})
}

func TestLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{})
		require.ErrorContains(t, b.ext.Start(t.Context()), "started before")
		cfg := b.cfg
		cfg.Registerer = nil
		_, err := New(cfg)
		require.ErrorIs(t, err, durable.ErrLocked)
		b.stop()
		require.NoError(t, b.ext.Stop(t.Context()), "again")

		x, err := New(cfg)
		require.NoError(t, err)
		require.NoError(t, x.Stop(t.Context()), "without a start")
		time.Sleep(2 * time.Second)
	})
}

// The sweeper ends what expired without being asked.
func TestSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := newHosts()
		down.set(func(context.Context, pushext.Notification) pushext.Verdict {
			return pushext.Verdict{Class: pushext.Retry, Reason: "hook 503"}
		})
		b := newBed(t, Limits{}, func(c *Config) {
			c.Delivery.TTL = time.Hour
			c.Providers, c.SkipChallenge = append(c.Providers, down), []string{"hook"}
		})
		defer b.stop()
		bob := b.phone("bob")
		g := bob.registration(topicA)
		g.SealKey, g.Chain, g.Plain, g.Routes = nil, nil, true, []pushwire.Route{hook("bob")}
		require.Equal(t, pushwire.Active, bob.ask(g).State)
		b.envelope(topicA)
		box := b.ext.outbox
		s, err := box.Status(1)
		require.NoError(t, err)
		require.Equal(t, 1, s.Pending)
		time.Sleep(2 * time.Hour)
		s, err = box.Status(1)
		require.NoError(t, err)
		require.Equal(t, 0, s.Pending)
		require.Equal(t, uint32(1), s.Lost)
		require.Equal(t, "unsent", s.Reason)
	})
}
