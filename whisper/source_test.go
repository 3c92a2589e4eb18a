package whisper

import (
	"net/netip"
	"testing"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"
)

func TestSourceOf(t *testing.T) {
	one, other := enode.ID{1}, enode.ID{2}
	for _, c := range []struct {
		name string
		a, b string
		same bool
	}{
		{"one IPv4 network", "203.0.113.1", "203.0.113.200", true},
		{"neighbouring IPv4 networks", "203.0.113.1", "203.0.114.1", false},
		{"IPv4 mapped into IPv6", "203.0.113.1", "::ffff:203.0.113.9", true},
		{"one customer's IPv6", "2001:db8:1:1::1", "2001:db8:1:ffff::2", true},
		{"two customers' IPv6", "2001:db8:1::1", "2001:db8:2::1", false},
		{"loopback", "127.0.0.1", "127.0.0.1", false},
		{"IPv6 loopback", "::1", "::1", false},
		{"private network", "172.17.0.1", "172.17.0.1", false},
		{"unique local", "fd00::1", "fd00::1", false},
		{"link local with a zone", "fe80::1%eth0", "fe80::1%eth0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := SourceOf(netip.MustParseAddr(c.a), one), SourceOf(netip.MustParseAddr(c.b), other)
			require.Equal(t, c.same, a == b)
		})
	}
	require.Equal(t, Source(one[:]), SourceOf(netip.Addr{}, one), "an unknown address")
}
