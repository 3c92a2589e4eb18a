package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"whisperpush/config"
)

// Listen opens the HTTP and WebSocket listeners that the settings ask for: one for both if they have the same
// address and port, as with geth.
func Listen(settings config.RPC, a APIs, logger *slog.Logger) (listeners []*Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	http, ws := settings.HTTP, settings.WS
	shared := http.Enabled && ws.Enabled && http.Addr == ws.Addr && http.Port == ws.Port
	var httpHandler, wsHandler *handler
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
		l, err := ListenHTTP(WhatHTTP, "http", http.Addr, http.Port, handler, logger)
		if err != nil {
			return listeners, err
		}
		l.beforeClose = handler.stop
		listeners = append(listeners, l)
	}
	if ws.Enabled && !shared {
		l, err := ListenHTTP(WhatWS, "ws", ws.Addr, ws.Port, wsHandler, logger)
		if err != nil {
			return listeners, err
		}
		l.beforeClose = wsHandler.stop
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// handler is an HTTP handler in front of JSON-RPC servers; stop ends their connections.
type handler struct {
	http.Handler
	stop func()
}

func newHTTPHandler(settings config.HTTP, a APIs) (*handler, error) {
	srv, err := a.newServer(settings.API...)
	if err != nil {
		return nil, err
	}
	return &handler{onlyHosts(settings.VHosts, allowOrigins(settings.CORSDomain, srv)), srv.Stop}, nil
}

func newWSHandler(settings config.WS, a APIs) (*handler, error) {
	srv, err := a.newServer(settings.API...)
	if err != nil {
		return nil, err
	}
	return &handler{srv.WebsocketHandler(settings.Origins), srv.Stop}, nil
}

// splitUpgrades serves both on one listener.
func splitUpgrades(ws, plain *handler) *handler {
	serve := func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			ws.ServeHTTP(w, r)
			return
		}
		plain.ServeHTTP(w, r)
	}
	return &handler{http.HandlerFunc(serve), func() { ws.stop(); plain.stop() }}
}

// onlyHosts refuses requests for other host names, so that a stranger's name that points at this address does not
// make their page one of ours (DNS rebinding). IP addresses cannot be rebound.
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

// Listener is an HTTP server that serves until Close.
type Listener struct {
	Scheme      string // what a client writes before ://
	Addr        net.Addr
	server      *http.Server
	done        chan struct{}
	beforeClose func() // may be nil
}

// closeTimeout is how long running requests have when a listener closes.
const closeTimeout = 2 * time.Second

// ListenHTTP serves handler. what is the service's name in error texts, prefix that of its flags.
func ListenHTTP(what, prefix, addr string, port int, handler http.Handler, logger *slog.Logger) (*Listener, error) {
	listener, err := net.Listen("tcp", HostPort(addr, port))
	if err != nil {
		return nil, ListenError(err, what, port, prefix+".port", prefix+".addr")
	}
	l := &Listener{
		Scheme: prefix,
		Addr:   listener.Addr(),
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

// Close lets running requests end for a moment and returns when the listener is closed.
func (l *Listener) Close() {
	if l.beforeClose != nil {
		l.beforeClose()
	}
	shutdown(l.server, closeTimeout)
	<-l.done
}

// URL is how a client on this computer reaches the listener.
func (l *Listener) URL() string { return l.Scheme + "://" + l.Addr.String() }

// shutdown lets the running requests of srv end for as long as patience says, then cuts them off.
func shutdown(srv *http.Server, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
}
