package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

const (
	// resolveTimeout bounds the look-up of a node's name.
	resolveTimeout = 5 * time.Second
	// resolveEvery is how often a name that could not be resolved is tried again.
	resolveEvery = time.Minute
)

// errNoUDP is why a node cannot help to find other nodes.
var errNoUDP = errors.New("has no UDP port (discport=0), so it can be a peer and cannot help to find others; give one without discport=0")

// Lookup is net.Resolver's LookupNetIP.
type Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Bootnode is a node of the settings that should help to find other nodes.
type Bootnode struct {
	*enode.Node
	number int   // its place in the settings, from 1
	Err    error // why it cannot help, nil if it can; the sentence begins with the node
}

// String names a bootnode so that an operator can find it in the settings; it shows no URL and may be logged.
func (b Bootnode) String() string {
	name := fmt.Sprintf("bootnode number %d", b.number)
	if key := b.Pubkey(); key != nil {
		name += fmt.Sprintf(" (%s…)", hex.EncodeToString(crypto.FromECDSAPub(key)[1:5]))
	}
	return name
}

// CheckBootnodes resolves the names of bootnodes, all at the same time, and sets Err of those that cannot help.
func CheckBootnodes(ctx context.Context, nodes []*enode.Node, look Lookup) []Bootnode {
	list := make([]Bootnode, len(nodes))
	var each sync.WaitGroup
	for i, n := range nodes {
		each.Go(func() {
			list[i] = Bootnode{n, i + 1, nil}
			if n.UDP() == 0 {
				list[i].Err = errNoUDP
				return
			}
			list[i].Node, list[i].Err = ResolveNode(ctx, n, look)
		})
	}
	each.Wait()
	return list
}

// ResolveNode sets the addresses of a node that is known by a host name.
func ResolveNode(ctx context.Context, n *enode.Node, look Lookup) (*enode.Node, error) {
	if n.Hostname() == "" {
		return n, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, err := look(ctx, "ip", n.Hostname())
	if err != nil {
		why := err.Error()
		if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
			why = dns.Err // without the resolver's address
		}
		return n, fmt.Errorf("has the name %q, which cannot be resolved: %s", n.Hostname(), why)
	}
	record := n.Record()
	for _, ip := range found { // the first one of each family
		switch ip = ip.Unmap(); {
		case ip.Is4() && record.Load(new(enr.IPv4Addr)) != nil:
			record.Set(enr.IPv4Addr(ip))
		case ip.Is6() && record.Load(new(enr.IPv6Addr)) != nil:
			record.Set(enr.IPv6Addr(ip))
		}
	}
	record.SetSeq(n.Seq())
	return enode.SignNull(record, n.ID()).WithHostname(n.Hostname()), nil
}

// sortBootnodes warns of bootnodes that cannot help, so that none of them keeps the node from starting. peers can only
// be peers and belong in the list of static nodes; the names of late are to be tried again.
func sortBootnodes(all []Bootnode, logger *slog.Logger) (ready, peers []*enode.Node, late []Bootnode) {
	for _, b := range all {
		switch {
		case b.Err == nil:
			ready = append(ready, b.Node)
		case errors.Is(b.Err, errNoUDP):
			logger.Warn("the " + b.String() + " " + b.Err.Error())
			peers = append(peers, b.Node)
		default:
			logger.Warn("the "+b.String()+" "+b.Err.Error(), "next", "the name is tried again every "+resolveEvery.String())
			late = append(late, b)
		}
	}
	return ready, peers, late
}

// resolveLate tries the names of late bootnodes until each is resolved, or ctx ends. It calls found for each.
func resolveLate(ctx context.Context, late []Bootnode, look Lookup, found func(Bootnode)) {
	ticker := time.NewTicker(resolveEvery)
	defer ticker.Stop()
	for len(late) > 0 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		var still []Bootnode
		for _, b := range late {
			if b.Node, b.Err = ResolveNode(ctx, b.Node, look); b.Err != nil {
				still = append(still, b)
				continue
			}
			found(b)
		}
		late = still
	}
}

// join introduces link to a bootnode that became known after the start. The bootnode becomes a peer and is asked for
// other nodes. Once it answers a ping, it is in the discovery table.
func join(link *p2p.Server, b Bootnode, logger *slog.Logger) {
	logger.Info("the name of the " + b.String() + " is resolved")
	link.AddPeer(b.Node)
	if search := link.DiscoveryV4(); search != nil {
		search.Ping(b.Node) // the table takes nodes that ping back
	}
	if search := link.DiscoveryV5(); search != nil {
		search.AddKnownNode(b.Node)
	}
}

// tellOwnIP makes link announce the address that it listens on until it learns a better one. p2p would announce
// 127.0.0.1, which suits only a node that listens on every interface.
func tellOwnIP(link *p2p.Server) {
	listening, err := netip.ParseAddrPort(link.ListenAddr)
	if err != nil || listening.Addr().IsUnspecified() {
		return
	}
	ip := listening.Addr().Unmap().WithZone("")
	if ip.Is6() {
		link.LocalNode().SetFallbackIP(net.IPv4zero) // so that there is no IPv4 fallback
	}
	link.LocalNode().SetFallbackIP(ip.AsSlice())
}
