package dispatch

import (
	"net"
	"net/netip"
	"strings"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"golang.org/x/net/publicsuffix"

	"whisperpush/whisper"
)

// site is the owner of hosts: a registered domain with all names below it, or the network
// of a literal address. Names below a domain are free; domains are not. All lanes to a
// site's hosts, of whatever provider, take one turn among the sites. Guarded by
// Dispatcher.mu.
type site struct {
	share  *share
	name   string
	lanes  int             // to its hosts, in memory
	ready  waitlist[*lane] // those that have something queued and, as far as known, may send
	flying int
	inTurn bool // it is in share.quick or share.slow
	// slow is set while the latest attempt that ended kept the server waiting.
	slow bool
}

// siteOf names the site of a lane, which is a host, usually with a port. What two names
// resolve to is not known here: the address is only looked up when a connection is made,
// and may be another one the next time.
func siteOf(lane string) string {
	host := lane
	if name, _, err := net.SplitHostPort(lane); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		if network := whisper.SourceOf(ip, enode.ID{}); network != whisper.Source(make([]byte, len(enode.ID{}))) {
			return string(network)
		}
		return ip.String() // of a private network, each by itself
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host // nothing is registered below it
}
