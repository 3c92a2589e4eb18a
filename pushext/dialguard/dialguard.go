// Package dialguard keeps requests to addresses that strangers registered away from the
// operator's own network (server-side request forgery).
//
// There are two gates. CheckURL judges an endpoint when it is registered, by its text
// alone, and finds the one spelling of it. Control judges the IP address that a dialer is
// about to connect to, after name resolution and before the first packet, so neither DNS
// rebinding nor an odd spelling of an address passes it. The caller adds the rest: no
// proxy, no redirects, bounded reads, deadlines.
package dialguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MaxURL is the longest endpoint accepted, in bytes, as in the UnifiedPush
// server specification.
const MaxURL = 1000

// ErrForbidden is wrapped by Control's errors, and so by those of the dial.
var ErrForbidden = errors.New("address is not on the public internet")

// public is the IPv6 space that is routed globally, RFC 4291 section 2.4.
// Everything outside is special: loopback, mapped, NAT64, local, multicast.
var public = netip.MustParsePrefix("2000::/3")

// special are the blocks in public space that do not lead to a public host: the
// IANA special-purpose address registries (RFC 6890), and a cloud's own address.
var special = func() (list []netip.Prefix) {
	for _, block := range []string{
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // carrier-grade NAT
		"127.0.0.0/8",      // loopback
		"169.254.0.0/16",   // link-local, cloud metadata
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // protocol assignments
		"192.0.2.0/24",     // documentation
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarking
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, broadcast
		"168.63.129.16/32", // Azure's host agent
		"2001::/23",        // protocol assignments: Teredo, ORCHID, benchmarking
		"2001:db8::/32",    // documentation
		"2002::/16",        // 6to4
		"3fff::/20",        // documentation
	} {
		list = append(list, netip.MustParsePrefix(block))
	}
	return list
}()

// Check returns an error that wraps ErrForbidden if ip is not an address of a
// public host.
func Check(ip netip.Addr) error {
	ip = ip.Unmap() // ::ffff:127.0.0.1 reaches 127.0.0.1
	if !ip.IsValid() || ip.Zone() != "" || ip.Is6() && !public.Contains(ip) {
		return ErrForbidden
	}
	for _, block := range special {
		if block.Contains(ip) {
			return ErrForbidden
		}
	}
	return nil
}

// Control is for net.Dialer.Control. The address is the one of the imminent
// connect call.
func Control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %s", ErrForbidden, network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrForbidden
	}
	return Check(to.Addr())
}

// Dial returns a dial function behind Control, for http.Transport.DialContext.
// resolver is nil for the system's.
func Dial(timeout time.Duration, resolver *net.Resolver) func(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout, Resolver: resolver, Control: Control}).DialContext
}

// Policy says what CheckURL lets pass beyond HTTPS to a public host.
type Policy struct {
	HTTP    bool // plain HTTP
	Private bool // hosts of private networks and the machine itself, for tests
}

// CheckURL judges an endpoint by its text, without looking up its host, and returns it in
// the one spelling that stands for all that lead to the same place. That spelling passes
// as well and stays as it is. The error may be shown to the registrant: it repeats
// nothing of the endpoint.
func CheckURL(endpoint string, policy Policy) (*url.URL, error) {
	u, err := checkURL(endpoint, policy)
	if err != nil {
		return nil, err
	}
	one, err := canonical(u)
	if err != nil || one == endpoint {
		return u, err
	}
	return checkURL(one, policy)
}

func checkURL(endpoint string, policy Policy) (*url.URL, error) {
	if len(endpoint) > MaxURL {
		return nil, fmt.Errorf("the endpoint has %d bytes, more than %d", len(endpoint), MaxURL)
	}
	for i := range len(endpoint) {
		if c := endpoint[i]; c <= ' ' || c > '~' || c == '\\' {
			return nil, errors.New("the endpoint has characters that a URL cannot have: encode them")
		}
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "":
		return nil, errors.New("the endpoint is not a URL")
	case u.Scheme == "http" && !policy.HTTP:
		return nil, errors.New("the endpoint must be an https URL: this server does not push over plain http")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the endpoint must be an https URL")
	case u.User != nil:
		return nil, errors.New("the endpoint must not hold a user name or password")
	case u.Fragment != "" || strings.HasSuffix(endpoint, "#"):
		return nil, errors.New("the endpoint must not have a fragment")
	}
	if err := checkPort(u.Port(), strings.HasSuffix(u.Host, ":"), policy); err != nil {
		return nil, err
	}
	if err := checkHost(u.Hostname(), policy); err != nil {
		return nil, err
	}
	return u, nil
}

// checkPort keeps endpoints away from the well-known ports of other protocols.
func checkPort(port string, empty bool, policy Policy) error {
	if port == "" && !empty {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || n < 1024 && n != 443 && n != 80 && !policy.Private || n == 80 && !policy.HTTP {
		return errors.New("the endpoint's port must be 443, or 1024 and above")
	}
	return nil
}

// local are names that lead inside, RFC 6761, RFC 6762, RFC 8375 and ICANN's "internal".
var local = []string{"localhost", "local", "internal", "intranet", "lan", "home.arpa", "test", "invalid", "onion"}

var errNoDomain = errors.New("the endpoint's host is not a domain name")

// CheckHost judges a name or address by its text: an error means that it is not one of
// the public internet.
func CheckHost(host string) error { return checkHost(host, Policy{}) }

func checkHost(host string, policy Policy) error {
	if policy.Private {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if Check(ip) != nil {
			return errors.New("the endpoint's host is not on the public internet")
		}
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return errNoDomain
		}
	}
	last := labels[len(labels)-1]
	switch {
	case len(labels) < 2:
		return errors.New("the endpoint's host must be a full domain name")
	case last[0] >= '0' && last[0] <= '9':
		// No top-level domain starts with a digit; some resolvers read such
		// hosts as an address: 127.1, 0x7f.1, 0177.0.0.01.
		return errors.New("the endpoint's host is neither a domain name nor an address in its usual form")
	}
	for _, suffix := range local {
		if name == suffix || strings.HasSuffix(name, "."+suffix) {
			return errors.New("the endpoint's host is not on the public internet")
		}
	}
	return nil
}
