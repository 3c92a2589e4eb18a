package whisper_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

// TestInboundLinksGiveWay: over real links, the one that is of no use ends for a
// newcomer. Links that were of use, trusted peers, and links that the node
// dialled stay.
func TestInboundLinksGiveWay(t *testing.T) {
	registry := prometheus.NewRegistry()
	n := network.Start(t, network.Options{Whisper: whisper.Config{MaxInbound: 4, Registerer: registry}})
	dialled := network.Start(t, network.Options{})
	network.Connect(t, n, dialled)

	join := func() *network.Peer {
		p := network.Start(t, network.Options{NoListen: true})
		network.Connect(t, p, n)
		return p
	}
	writer, proved, friend, idle := join(), join(), join(), join()
	e, err := whisper.Seal(t.Context(), whisper.Draft{Key: interopKey, Payload: []byte("hello")})
	require.NoError(t, err)
	require.NoError(t, writer.Node.Post(t.Context(), e))
	require.Eventually(t, func() bool { return n.Node.Pool().Envelopes == 1 }, 10*time.Second, time.Millisecond)
	n.Node.Proved(proved.ID())
	n.Node.Trust(friend.ID())

	for range 3 { // each is the only one that has not been of use when the next comes
		next := join()
		require.NoError(t, n.Node.WaitGone(t.Context(), idle.ID()))
		idle = next
	}
	for _, stays := range []*network.Peer{writer, proved, friend, idle, dialled} {
		require.True(t, n.Node.Connected(stays.ID()))
	}
	require.Len(t, n.Node.Peers(), 5)
	value := func(name string) float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == name {
				sum := 0.0
				for _, m := range f.GetMetric() {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
				return sum
			}
		}
		return -1
	}
	require.EqualValues(t, 3, value("whisperpush_whisper_links_evicted_total"))
	require.EqualValues(t, 4, value("whisperpush_whisper_inbound_links"))
	require.Equal(t, 4, testutil.CollectAndCount(registry, "whisperpush_whisper_links_evicted_total"))
}
