package wnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"whisperpush/config"
)

// listenError says in one sentence why what cannot listen on port, and which flags help.
func listenError(err error, what string, port int, portFlag, addrFlag string) error {
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

// checkListeners tries every address the settings make the node listen on, so that an occupied port is said at
// once, before anything is opened or logged. Whoever listens later checks again.
func checkListeners(cfg config.Config) error {
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
			return listenError(err, what, portOf(addr), portFlag, addrFlag)
		}
		return listener.Close()
	}
	if !cfg.RPC.IPCDisable {
		if err := checkSocketPath(ipcPath(cfg)); err != nil {
			return err
		}
	}
	http, ws, metrics := cfg.RPC.HTTP, cfg.RPC.WS, cfg.Metrics
	return cmp.Or(
		try(true, "tcp", "peers", cfg.Node.ListenAddr, "port", "addr"),
		try(!cfg.Node.NoDiscovery, "udp", "peers", cfg.Node.ListenAddr, "port", "addr"),
		try(http.Enabled, "tcp", whatHTTP, hostPort(http.Addr, http.Port), "http.port", "http.addr"),
		try(ws.Enabled, "tcp", whatWS, hostPort(ws.Addr, ws.Port), "ws.port", "ws.addr"),
		try(metrics.Enabled, "tcp", whatMetrics, hostPort(metrics.Addr, metrics.Port), "metrics.port", "metrics.addr"),
	)
}

// What error texts call the HTTP listeners.
const (
	whatHTTP    = "JSON-RPC over HTTP"
	whatWS      = "JSON-RPC over WebSocket"
	whatMetrics = "metrics"
)

// hostPort joins an address of the settings, in which no interface is the loopback one.
func hostPort(addr string, port int) string {
	host, err := config.Host(addr, "")
	if err != nil {
		host = addr // which the settings' check refused
	}
	return net.JoinHostPort(cmp.Or(host, "127.0.0.1"), strconv.Itoa(port))
}

// portOf is the port in host:port, 0 if there is none.
func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	return number
}

// shutdown lets the running requests of srv end for as long as patience says, then cuts them off.
func shutdown(srv *http.Server, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
}
