package wnode

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// resolveTimeout ends a look-up of a bootnode's name.
const resolveTimeout = 5 * time.Second

// checkBootnode says why a node cannot help to find others, nil if it can.
func checkBootnode(ctx context.Context, n *enode.Node) error {
	if n.UDP() == 0 {
		return fmt.Errorf("the bootnode %s… has discport=0: it is a peer and does not help to find others; list it as a static node", n.ID().TerminalString())
	}
	if n.Hostname() == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	if _, err := net.DefaultResolver.LookupNetIP(ctx, "ip", n.Hostname()); err != nil {
		return fmt.Errorf("the name of the bootnode %s… cannot be resolved; correct it, or leave the node out", n.ID().TerminalString())
	}
	return nil
}

// usableBootnodes leaves out and warns of those that cannot help, so that one of them does not keep the node from
// starting. They are still peers to be dialled, which is tried again and again.
func usableBootnodes(ctx context.Context, all []*enode.Node, logger *slog.Logger) (usable, others []*enode.Node) {
	for _, n := range all {
		if err := checkBootnode(ctx, n); err != nil {
			logger.Warn("a bootnode is left out", "err", err)
			others = append(others, n)
			continue
		}
		usable = append(usable, n)
	}
	return usable, others
}

// ownIP is the address that a node which listens on addr tells of itself until it learns a better one; ok is false if
// it listens on every interface.
func ownIP(addr string) (ip net.IP, ok bool) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, false
	}
	parsed, err := netip.ParseAddr(host)
	if err != nil || parsed.IsUnspecified() {
		return nil, false
	}
	return net.IP(parsed.WithZone("").AsSlice()), true
}
