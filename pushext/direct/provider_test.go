package direct

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/providertest"
)

func TestHeard(t *testing.T) {
	d := newDevices(t, Config{})
	addr := d.Device()
	same := d.links[addr.Token]
	require.False(t, d.p.Heard(addr, same), "the same link again tells nothing")
	require.True(t, d.p.Heard(addr, &link{devices: d, token: addr.Token}), "another link is the newest place where the device is")
	require.True(t, d.p.Heard(addr, same))
	same.fault = providertest.Unavailable
	require.Equal(t, pushext.Absent, d.p.Push(t.Context(), pushext.Notification{Address: addr}).Class)
	require.Empty(t, d.p.links)
	same.fault = providertest.None
	require.True(t, d.p.Heard(addr, same), "it was given up, so it is news")
}

// carried is a link of several over one connection.
type carried struct {
	*link
	connection string
}

func (c carried) Connection() string { return c.connection }

// What goes over one connection is one lane.
func TestLanesAreConnections(t *testing.T) {
	d := newDevices(t, Config{})
	one, two, three := d.Device(), d.Device(), d.Device()
	require.NotEqual(t, d.p.Lane(one), d.p.Lane(two))
	for addr, connection := range map[*pushext.Address]string{&one: "a", &two: "a", &three: "b"} {
		d.p.Heard(*addr, carried{d.links[addr.Token], connection})
	}
	require.Equal(t, d.p.Lane(one), d.p.Lane(two))
	require.NotEqual(t, d.p.Lane(one), d.p.Lane(three))
}

// A link that does not take a ring in time is given up, and the next route has
// the rest of the time.
func TestStalledLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevices(t, Config{})
		addr := d.Device()
		d.Script(addr, providertest.Hang, 0)
		start := time.Now()
		v := d.p.Push(t.Context(), pushext.Notification{Address: addr})
		require.Equal(t, pushext.Verdict{Class: pushext.Absent, Reason: "direct link broke"}, v)
		require.Equal(t, DefaultTimeout, time.Since(start))
		v = d.p.Push(t.Context(), pushext.Notification{Address: addr})
		require.Equal(t, pushext.Verdict{Class: pushext.Absent, Reason: "direct not connected"}, v)
		require.Equal(t, DefaultTimeout, time.Since(start), "not again")
	})
}

func TestLinksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevices(t, Config{MaxLinks: 8})
		var addrs []pushext.Address
		for range 20 {
			addrs = append(addrs, d.Device())
			require.LessOrEqual(t, len(d.p.links), 8)
		}
		require.Equal(t, pushext.Absent, d.p.Push(t.Context(), pushext.Notification{Address: addrs[19]}).Class)
		require.Equal(t, pushext.Delivered, d.p.Push(t.Context(), pushext.Notification{Address: addrs[0]}).Class, "who is there stays")
		for _, l := range d.links {
			l.fault = providertest.Unavailable // all hang up
		}
		time.Sleep(sweepEvery)
		addr := d.Device()
		require.Equal(t, pushext.Delivered, d.p.Push(t.Context(), pushext.Notification{Address: addr}).Class)
		require.Len(t, d.p.links, 1)
	})
}

func TestBadConfig(t *testing.T) {
	for _, cfg := range []Config{{MaxLinks: -1}, {Timeout: -1}} {
		_, err := New(cfg)
		require.Error(t, err)
	}
}
