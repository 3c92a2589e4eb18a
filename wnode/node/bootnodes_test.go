package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/testutil/loopback"
)

const someNode = "enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@"

// names resolves the names it has, and no other.
type names map[string][]netip.Addr

func (n names) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	if found, ok := n[host]; ok {
		return found, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, Server: "203.0.113.9:53"}
}

// A bootnode that cannot help is named, in the log without its address, and keeps none of the others from helping.
func TestBootnodes(t *testing.T) {
	nodes := []*enode.Node{
		enode.MustParse(someNode + "127.0.0.1:3"),
		enode.MustParse(someNode + "127.0.0.1:4?discport=0"),
		enode.MustParse(someNode + "nowhere.invalid:5"),
		enode.MustParse(someNode + "both.example:6"),
	}
	known := names{"both.example": {netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("192.0.2.8")}}
	var out bytes.Buffer
	ready, peers, late := sortBootnodes(CheckBootnodes(t.Context(), nodes, known.lookup), NewLogger(&out, config.Log{Verbosity: 3, Format: "text"}))
	require.Len(t, ready, 2)
	require.Equal(t, nodes[0], ready[0])
	require.NoError(t, ready[1].ValidateComplete())
	require.Equal(t, "192.0.2.7", ready[1].IPAddr().String())
	require.Equal(t, nodes[3].ID(), ready[1].ID())
	require.Equal(t, []int{6, 6}, []int{ready[1].TCP(), ready[1].UDP()})
	require.Equal(t, nodes[1:2], peers)
	require.Len(t, late, 1)
	require.Regexp(t, `level=WARN msg="the bootnode number 2 \(6332792c…\) has no UDP port \(discport=0\), so it can be a peer and cannot help to find others; give one without discport=0"`, out.String())
	require.Regexp(t, `level=WARN msg="the bootnode number 3 \(6332792c…\) has the name \\"nowhere.invalid\\", which cannot be resolved: no such host" next="the name is tried again every 1m0s"`, out.String())
	require.NotContains(t, out.String(), "203.0.113.9")
}

// A name that cannot be resolved at the start, as before the network is up, is found later.
func TestLateBootnodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, began := names{}, time.Now()
		nodes := []*enode.Node{enode.MustParse(someNode + "first.example:5"), enode.MustParse(someNode + "second.example:6")}
		_, _, late := sortBootnodes(CheckBootnodes(t.Context(), nodes, known.lookup), slog.New(slog.DiscardHandler))
		require.Len(t, late, 2)
		known["second.example"] = []netip.Addr{netip.MustParseAddr("192.0.2.2")}
		found := map[int]time.Duration{}
		resolveLate(t.Context(), late, known.lookup, func(b Bootnode) {
			found[b.number] = time.Since(began)
			require.True(t, b.IPAddr().IsValid())
			known["first.example"] = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		})
		require.Equal(t, map[int]time.Duration{2: resolveEvery, 1: 2 * resolveEvery}, found)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		resolveLate(ctx, late, names{}.lookup, func(Bootnode) { t.Error("found what is not there") })
	})
}

// A look-up that hangs ends.
func TestLookupThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		all := CheckBootnodes(t.Context(), []*enode.Node{enode.MustParse(someNode + "a.example:5"), enode.MustParse(someNode + "b.example:5")},
			func(ctx context.Context, _, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() })
		require.ErrorContains(t, all[1].Err, `has the name "b.example", which cannot be resolved: context deadline exceeded`)
		require.Equal(t, resolveTimeout, time.Since(began), "all at one time")
	})
}

// A node starts whatever its bootnodes are, and asks those that are found.
func TestStartsWithAnyBootnode(t *testing.T) {
	cfg := loopback.Config(t)
	other := run(t, loopbackSearching(t))
	cfg.Node.NoDiscovery = false
	cfg.Node.BootstrapNodes = []string{someNode + "127.0.0.1:4?discport=0", someNode + "nowhere.invalid:5", other.link.Self().URLv4()}
	require.NoError(t, cfg.Validate())
	s := run(t, cfg)
	require.Eventually(t, func() bool { return s.link.PeerCount() == 1 }, 20*time.Second, 10*time.Millisecond)
}

func loopbackSearching(t *testing.T) config.Config {
	cfg := loopback.Config(t)
	cfg.Node.NoDiscovery = false
	return cfg
}

// A node that is resolved late is introduced as if it had been known.
func TestJoin(t *testing.T) {
	s, other := run(t, loopbackSearching(t)), run(t, loopbackSearching(t))
	join(s.link, Bootnode{Node: other.link.Self(), number: 1}, slog.New(slog.DiscardHandler))
	require.Eventually(t, func() bool {
		return s.link.PeerCount() == 1 && len(s.link.DiscoveryV5().AllNodes()) == 1
	}, 20*time.Second, 10*time.Millisecond)
}

// A node tells the address it listens on, and no other: that of one interface, of either family.
func TestTellsItsOwnAddress(t *testing.T) {
	for addr, want := range map[string]string{"127.0.0.1:0": "@127.0.0.1:", "127.0.0.5:0": "@127.0.0.5:", "[::1]:0": "@[::1]:", "localhost:0": "@127.0.0.1:"} {
		probe, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("this computer cannot listen on %s, so it is not tried: %v", addr, err)
			continue
		}
		probe.Close()
		for _, discover := range []bool{false, true} {
			cfg := loopback.Config(t)
			cfg.Node.ListenAddr, cfg.Node.NoDiscovery = addr, !discover
			require.Contains(t, run(t, cfg).link.Self().URLv4(), want)
		}
	}
	// Told otherwise, it tells that.
	cfg := loopback.Config(t)
	cfg.Node.ListenAddr, cfg.Node.NAT = "127.0.0.5:0", "extip:203.0.113.7"
	require.Contains(t, run(t, cfg).link.Self().URLv4(), "@203.0.113.7:")
}

func TestResolveNodeWithoutAName(t *testing.T) {
	n := enode.MustParse(someNode + "127.0.0.1:3")
	same, err := ResolveNode(t.Context(), n, func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("asked") })
	require.NoError(t, err)
	require.Equal(t, n, same)
}
