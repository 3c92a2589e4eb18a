package wnode

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"whisperpush/config"
)

// Limits of one JSON-RPC request. A message of the largest size is twice as long in hex.
const (
	rpcBodyLimit     = 2*(10<<20) + 64<<10
	rpcBatchItems    = 1000
	rpcBatchResponse = 32 << 20
)

// maxSocketPath is what a Unix socket address holds on every system we run on, in bytes.
const maxSocketPath = 103

// apis are the JSON-RPC name spaces: the receiver's methods are the calls.
type apis map[string]any

// newRPCServer serves those of apis that names lists; all without names.
func (a apis) newRPCServer(names ...string) (*rpc.Server, error) {
	srv := rpc.NewServer()
	srv.SetBatchLimits(rpcBatchItems, rpcBatchResponse)
	srv.SetHTTPBodyLimit(rpcBodyLimit)
	srv.SetWebsocketReadLimit(rpcBodyLimit)
	for name, receiver := range a {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		if err := srv.RegisterName(name, receiver); err != nil {
			return nil, err
		}
	}
	return srv, nil
}

// listenIPC serves every name space on the Unix socket at path until stop is called.
func listenIPC(path string, a apis) (stop func(), _ error) {
	srv, err := a.newRPCServer()
	if err != nil {
		return nil, err
	}
	listener, err := listenUnix(path)
	if err != nil {
		return nil, socketError(path, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeListener(listener) // returns when the listener closes
	}()
	return func() {
		listener.Close()
		<-done
		srv.Stop()
	}, nil
}

// checkSocketPath tells whether there can be a socket at path.
func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("the path of the JSON-RPC socket has %d bytes, at most %d are possible; choose a shorter one with --ipcpath", len(path), maxSocketPath)
	}
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s is not a socket, and the JSON-RPC socket is to be there; choose another path with --ipcpath", path)
	case err == nil && answers(path):
		return socketError(path, syscall.EADDRINUSE)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return socketError(path, err)
}

// socketError says in one sentence why there is no socket at path.
func socketError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the JSON-RPC socket %s is in use by another program; stop that one or choose another path with --ipcpath", path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("this user may not make the JSON-RPC socket %s; choose another path with --ipcpath, or leave the socket out with --ipcdisable", path)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("a part of the path of the JSON-RPC socket %s is a file; choose another with --ipcpath", path)
	}
	return fmt.Errorf("the JSON-RPC socket %s (--ipcpath) cannot be opened: %w", path, err)
}

// ipcPath is where the socket is: a bare name is in the data directory.
func ipcPath(cfg config.Config) string {
	path := cfg.RPC.IPCPath
	if path == "" {
		path = config.Defaults().RPC.IPCPath
	}
	if filepath.Base(path) == path {
		return filepath.Join(cfg.Node.DataDir, path)
	}
	return path
}

// listenRPC opens the HTTP and WebSocket listeners that the settings ask for: one for both if they have the same
// address and port, as with geth.
func listenRPC(settings config.RPC, a apis, logger *slog.Logger) (listeners []*httpListener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.close()
			}
		}
	}()
	http, ws := settings.HTTP, settings.WS
	shared := http.Enabled && ws.Enabled && http.Addr == ws.Addr && http.Port == ws.Port
	var httpHandler, wsHandler *rpcHandler
	if http.Enabled {
		if httpHandler, err = newHTTPHandler(http, a); err != nil {
			return nil, err
		}
	}
	if ws.Enabled {
		if wsHandler, err = newWSHandler(ws, a); err != nil {
			return nil, err
		}
	}
	if http.Enabled {
		handler := httpHandler
		if shared {
			handler = splitUpgrades(wsHandler, httpHandler)
		}
		l, err := listenHTTP(whatHTTP, "http", http.Addr, http.Port, handler, logger)
		if err != nil {
			return listeners, err
		}
		l.beforeClose = handler.stop
		listeners = append(listeners, l)
	}
	if ws.Enabled && !shared {
		l, err := listenHTTP(whatWS, "ws", ws.Addr, ws.Port, wsHandler, logger)
		if err != nil {
			return listeners, err
		}
		l.beforeClose = wsHandler.stop
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// rpcHandler is an HTTP handler in front of JSON-RPC servers; stop ends their connections.
type rpcHandler struct {
	http.Handler
	stop func()
}

func newHTTPHandler(settings config.HTTP, a apis) (*rpcHandler, error) {
	srv, err := a.newRPCServer(settings.API...)
	if err != nil {
		return nil, err
	}
	return &rpcHandler{onlyHosts(settings.VHosts, allowOrigins(settings.CORSDomain, srv)), srv.Stop}, nil
}

func newWSHandler(settings config.WS, a apis) (*rpcHandler, error) {
	srv, err := a.newRPCServer(settings.API...)
	if err != nil {
		return nil, err
	}
	return &rpcHandler{srv.WebsocketHandler(settings.Origins), srv.Stop}, nil
}

// splitUpgrades serves both on one listener.
func splitUpgrades(ws, plain *rpcHandler) *rpcHandler {
	serve := func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			ws.ServeHTTP(w, r)
			return
		}
		plain.ServeHTTP(w, r)
	}
	return &rpcHandler{http.HandlerFunc(serve), func() { ws.stop(); plain.stop() }}
}

// onlyHosts refuses requests for other host names, so that a name of a stranger's that he points at this address
// does not make his page one of ours (DNS rebinding). IP addresses cannot be rebound.
func onlyHosts(names []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host // without a port
		}
		isIP := net.ParseIP(strings.Trim(host, "[]")) != nil
		known := slices.ContainsFunc(names, func(name string) bool { return name == "*" || strings.EqualFold(name, host) })
		if host != "" && !isIP && !known {
			http.Error(w, "invalid host specified", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allowOrigins lets pages of the listed origins call and read the answers (CORS). Others a browser keeps out.
func allowOrigins(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		header := w.Header()
		header.Add("Vary", "Origin")
		allowed := origin != "" && slices.ContainsFunc(origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
		if allowed {
			header.Set("Access-Control-Allow-Origin", origin)
		}
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, r)
			return
		}
		if allowed { // a preflight
			header.Set("Access-Control-Allow-Methods", "POST, GET")
			header.Set("Access-Control-Allow-Headers", "Content-Type, Accept")
			header.Set("Access-Control-Max-Age", "600")
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// httpListener is an HTTP server that serves until close.
type httpListener struct {
	scheme      string // what a client writes before ://
	addr        net.Addr
	server      *http.Server
	done        chan struct{}
	beforeClose func() // may be nil
}

// closeTimeout is how long running requests have when a listener closes.
const closeTimeout = 2 * time.Second

// listenHTTP serves handler. what is the service's name in error texts, prefix that of its flags.
func listenHTTP(what, prefix, addr string, port int, handler http.Handler, logger *slog.Logger) (*httpListener, error) {
	listener, err := net.Listen("tcp", hostPort(addr, port))
	if err != nil {
		return nil, listenError(err, what, port, prefix+".port", prefix+".addr")
	}
	l := &httpListener{
		scheme: prefix,
		addr:   listener.Addr(),
		done:   make(chan struct{}),
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      2 * time.Minute, // posting may work for a minute
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		},
	}
	go func() {
		defer close(l.done)
		if err := l.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("a listener failed", "service", what, "err", err)
		}
	}()
	return l, nil
}

// close lets running requests end for a moment and returns when the listener is closed.
func (l *httpListener) close() {
	if l.beforeClose != nil {
		l.beforeClose()
	}
	shutdown(l.server, closeTimeout)
	<-l.done
}

// url is how a client on this computer reaches the listener.
func (l *httpListener) url() string { return l.scheme + "://" + l.addr.String() }
