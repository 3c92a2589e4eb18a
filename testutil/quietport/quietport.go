// Package quietport finds loopback TCP ports for servers that stop and start again.
//
// A port that the kernel picks for a listener is also one of those that it gives to
// outgoing connections: while the server is down, another connection may get it, and the
// server cannot start again. A quiet port is not one of those.
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
	// lowest and highest bound the ports that are tried.
	lowest, highest = 10_000, 65_535
	// attempts bounds how many ports are tried.
	attempts = 1000
	// ephemeral is where Linux tells the range of ports that it gives to outgoing
	// connections.
	ephemeral = "/proc/sys/net/ipv4/ip_local_port_range"
)

// Free returns a port that nobody listens on now, and that the system does not give to
// outgoing connections. Another process may still take it before the caller does.
func Free() (int, error) {
	from, to := connections()
	for range attempts {
		port := lowest + rand.IntN(highest-lowest+1)
		if port >= from && port <= to {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue // it is in use
		}
		return port, l.Close()
	}
	return 0, errors.New("there is no free port but those of outgoing connections")
}

// connections is the range of ports that outgoing connections are given. If the system
// does not tell, it is the range of RFC 6335 with Linux's additions.
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
