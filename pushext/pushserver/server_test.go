package pushserver

import (
	"bytes"
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
	inBubble(t, func(t *testing.T) {
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
	inBubble(t, func(t *testing.T) {
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
	inBubble(t, func(t *testing.T) {
		down := &scripted{name: "down"}
		down.always(pushext.Verdict{Class: pushext.Retry, Reason: "down 503"})
		b := newBed(t, Limits{}, func(c *Config) {
			c.Delivery.TTL = time.Hour
			c.Providers, c.SkipChallenge = append(c.Providers, down), []string{"down"}
		})
		defer b.stop()
		bob := b.phone("bob")
		g := bob.registration(topicA)
		g.SealKey, g.Plain, g.Routes = nil, true, []pushwire.Route{{Provider: "down", Address: []byte("bob")}}
		require.Equal(t, pushwire.Active, bob.ask(g).State)
		b.envelope(topicA)
		box := b.ext.outbox
		s, err := box.status(1)
		require.NoError(t, err)
		require.Equal(t, 1, s.pending)
		time.Sleep(2 * time.Hour)
		s, err = box.status(1)
		require.NoError(t, err)
		require.Equal(t, 0, s.pending)
		require.Equal(t, uint32(1), s.lost)
		require.Equal(t, "unsent", s.reason)
	})
}

// Nothing is kept in memory of devices and hosts that have nothing to do.
func TestIdleDevicesAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hooks := &scripted{name: "webhook"}
		r := newRig(t, Delivery{}, hosted{hooks})
		one, two := r.device(1, "webhook a/1"), r.device(2, "webhook b/2")
		r.start()
		defer r.stop()
		for range 30 {
			r.log.archive(one)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		r.log.archive(two)
		synctest.Wait()
		r.dispatcher.mu.Lock()
		defer r.dispatcher.mu.Unlock()
		require.Len(t, r.dispatcher.jobs, 1, "the one whose budget is not full yet")
		require.Len(t, r.dispatcher.lanes, 1, "what it accepted lately is remembered")
		require.Zero(t, r.dispatcher.flying)
	})
}
