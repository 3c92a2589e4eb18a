// Package quietport finds TCP ports of the loopback for servers that go away and come back.
//
// A port that the kernel picks for a listener is one of those that it gives to outgoing
// connections too: while the server is down, somebody's connection may get it, and the
// server does not start again. A quiet port is not one of those.
package quietport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

const (
	// lowest and highest are the ports that are looked at.
	lowest, highest = 10_000, 65_535
	// attempts bounds how many ports are tried.
	attempts = 1000
	// ephemeral is where Linux tells from which port to which it gives them to outgoing connections.
	ephemeral = "/proc/sys/net/ipv4/ip_local_port_range"
)

// Free returns a port that nobody listens on now, and that no outgoing connection is given
// by itself. Somebody may still take it before the caller does.
func Free() (int, error) {
	from, to := connections()
	for range attempts {
		port := lowest + rand.IntN(highest-lowest+1)
		if port >= from && port <= to {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue // somebody has it
		}
		return port, l.Close()
	}
	return 0, errors.New("there is no free port but those of outgoing connections")
}

// connections is the range of ports that outgoing connections are given. Where the system
// does not tell, it is the one of RFC 6335 and what Linux adds to it.
func connections() (from, to int) {
	text, err := os.ReadFile(ephemeral)
	if err == nil {
		_, err = fmt.Sscan(string(text), &from, &to)
	}
	if err != nil {
		return 32_768, highest
	}
	return from, to
}
