package rpc

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"syscall"

	"whisperpush/config"
)

// ListenError says in one sentence why what, such as "metrics", cannot listen on port, and which flags help: portFlag
// and addrFlag, without their dashes.
func ListenError(err error, what string, port int, portFlag, addrFlag string) error {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d for %s is in use by another program; stop that one or choose another with --%s", port, what, portFlag)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("port %d for %s needs more rights than this user has; choose one above 1023 with --%s", port, what, portFlag)
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &dns):
		return fmt.Errorf("%s cannot listen on an interface that this computer does not have; choose another with --%s", what, addrFlag)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%s cannot listen on this address; a link-local one needs its interface, as in --%s fe80::1%%eth0", what, addrFlag)
	}
	return fmt.Errorf("listen for %s: %w", what, err)
}

// CheckListeners tries every address the settings make the node listen on, so that an occupied port is said at
// once, before anything is opened or logged. Whoever listens later checks again.
func CheckListeners(cfg config.Config) error {
	try := func(on bool, network, what, addr, portFlag, addrFlag string) error {
		if !on {
			return nil
		}
		var listener io.Closer
		var err error
		if network == "udp" {
			listener, err = net.ListenPacket(network, addr)
		} else {
			listener, err = net.Listen(network, addr)
		}
		if err != nil {
			return ListenError(err, what, PortOf(addr), portFlag, addrFlag)
		}
		return listener.Close()
	}
	if !cfg.RPC.IPCDisable {
		if err := checkSocketPath(SocketPath(cfg)); err != nil {
			return err
		}
	}
	http, ws, door, metrics := cfg.RPC.HTTP, cfg.RPC.WS, cfg.Door, cfg.Metrics
	return cmp.Or(
		try(true, "tcp", "peers", cfg.Node.ListenAddr, "port", "addr"),
		try(!cfg.Node.NoDiscovery, "udp", "peers", cfg.Node.ListenAddr, "port", "addr"),
		try(http.Enabled, "tcp", WhatHTTP, HostPort(http.Addr, http.Port), "http.port", "http.addr"),
		try(ws.Enabled, "tcp", WhatWS, HostPort(ws.Addr, ws.Port), "ws.port", "ws.addr"),
		try(door.Enabled, "tcp", WhatDoor, HostPort(door.Addr, door.Port), "door.port", "door.addr"),
		try(metrics.Enabled, "tcp", WhatMetrics, HostPort(metrics.Addr, metrics.Port), "metrics.port", "metrics.addr"),
		try(cfg.Status.Enabled, "tcp", WhatStatus, HostPort(cfg.Status.Addr, cfg.Status.Port), "status.port", "status.addr"),
	)
}

// What people are told that the HTTP listeners are for.
const (
	WhatHTTP    = "JSON-RPC over HTTP"
	WhatWS      = "JSON-RPC over WebSocket"
	WhatDoor    = "devices over HTTPS"
	WhatMetrics = "metrics"
	WhatStatus  = "the status page"
)

// HostPort joins an address of the settings, in which no interface is the loopback one.
func HostPort(addr string, port int) string {
	host, err := config.Host(addr, "")
	if err != nil {
		host = addr // which the settings' check refused
	}
	return net.JoinHostPort(cmp.Or(host, "127.0.0.1"), strconv.Itoa(port))
}

// PortOf is the port in host:port, 0 if there is none.
func PortOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	return number
}
