//go:build unix

package node

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
)

// Limits of three nodes on one database are those of one node, whichever node devices ask,
// and also when a node is gone: as many registrations, and as many attempts a second.
func TestClusterLimits(t *testing.T) {
	t.Parallel()
	const (
		registrations = 48 // three for each shard, of which one network gets two
		attempts      = 56
		rate          = 16 // attempts a second
		shards        = 16
		rounds        = 3
	)
	nodes := newClusterWith(t, 3, func(cfg *config.Config) {
		cfg.Push.Limits.Registrations = registrations
		cfg.Push.Provider[0].Rate = rate
	})
	var phones []*phone
	refused := 0
	register := func(w *world) {
		t.Helper()
		p := &phone{token: w.fcm.NewToken()}
		p.ask(t, w)
		err := p.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(p.token)}}})
		if err == nil { // until it is proved, the next one would take its place
			_, err = p.Receive(t.Context(), p.ring(t).Body)
		}
		if err != nil {
			require.ErrorContains(t, err, "your network has its share of this server's registrations")
			refused++
			return
		}
		require.True(t, p.Active())
		p.Sleep()
		phones = append(phones, p)
	}
	for i := range attempts {
		register(nodes[i%3])
	}
	require.LessOrEqual(t, len(phones), registrations)
	require.GreaterOrEqual(t, len(phones), registrations/3)
	nodes[2].halt()
	nodes = nodes[:2]
	requireShared(t, nodes...)
	before := refused
	for i := range shards {
		register(nodes[i%2])
	}
	require.LessOrEqual(t, len(phones), registrations)
	require.Greater(t, refused, before)

	nodes[1].halt() // what comes next is matched by two other owners than before
	nodes[1].restart(t, true)
	requireShared(t, nodes...)
	var mu sync.Mutex
	var rung []time.Time
	nodes[0].fcm.Watch(func(push emulate.Push) {
		if payload, err := pushwire.OpenPayload(push.Body, nil); err == nil && payload.Kind == pushwire.Challenge {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		rung = append(rung, push.At)
	})
	for range rounds {
		nodes[0].post(t, "to all of them")
		for _, p := range phones {
			p.ring(t)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	require.GreaterOrEqual(t, len(rung), rounds*len(phones))
	for i, at := range rung {
		took := at.Sub(rung[0]) + time.Second // an attempt may take that long
		require.LessOrEqual(t, float64(i+1), shards+rate*took.Seconds(), "after %v", took)
	}
}
