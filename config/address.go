package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
)

// Host reads the interface of a setting such as --http.addr: an IP address, an IPv6 one also in brackets, or a name; or
// nothing. The error ends a sentence that begins with the setting: what is wrong and what to do. portFlag is the flag that
// sets the port beside it.
func Host(text, portFlag string) (string, error) {
	inner := text
	if after, ok := strings.CutPrefix(text, "["); ok {
		if before, ok := strings.CutSuffix(after, "]"); ok {
			inner = before
		}
	}
	if ip, err := netip.ParseAddr(inner); err == nil && (inner == text || ip.Is6()) {
		return inner, nil
	}
	if host, port, err := net.SplitHostPort(text); err == nil && strings.Trim(port, "0123456789") == "" {
		return "", fmt.Errorf("with a port; give %q here and the port as --%s %s", host, portFlag, port)
	}
	if strings.ContainsAny(text, "[]:/ \t") {
		return "", errors.New("which is neither an IP address nor a host name; give one such as 127.0.0.1")
	}
	return text, nil
}

// loopback reports whether no other computer reaches what listens on addr, in which nothing is this computer.
func loopback(addr string) bool {
	host, err := Host(addr, "")
	if err != nil {
		return false
	}
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// everywhere reports whether addr is every interface.
func everywhere(addr string) bool {
	ip, err := netip.ParseAddr(addr)
	return err == nil && ip.IsUnspecified()
}

// listener is an address that the settings make the node listen on.
type listener struct {
	setting string // that decides the port
	host    string
	port    int
}

// collides reports whether both cannot listen at one time.
func (l listener) collides(m listener) bool {
	if l.port != m.port || l.port <= 0 || l.port > math.MaxUint16 {
		return false
	}
	same := l.host == m.host || loopback(l.host) && loopback(m.host)
	return same || everywhere(l.host) || everywhere(m.host)
}
