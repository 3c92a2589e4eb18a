package node

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"whisperpush/config"
	"whisperpush/pushext/pushwire"
	"whisperpush/web/app"
	"whisperpush/whisper"
	"whisperpush/wnode/door"
	"whisperpush/wnode/rpc"
)

const (
	// envelopeHead is more than the fields of an envelope take besides its data.
	envelopeHead = 64
	// offerFresh is how long the door hands out the same offer.
	offerFresh = 10 * time.Minute
	// filesElsewhere is how many files are left for everything else when the door has many connections.
	filesElsewhere = 1024
)

// rooms is what the door opens to.
type rooms struct {
	*requests
	node   *whisper.Node
	offers *announcer // nil: push is off

	mu    sync.Mutex // guards the following
	offer *whisper.Envelope
	made  time.Time
	by    *ecdsa.PrivateKey // the key that signed it
	next  []pushwire.Succession
}

// Offer implements door.Rooms.
func (r *rooms) Offer(ctx context.Context) (*whisper.Envelope, error) {
	if r.offers == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key, next := r.offers.keys()
	if now := time.Now(); r.offer == nil || now.Sub(r.made) >= offerFresh || !key.Equal(r.by) || !slices.Equal(next, r.next) {
		env, err := r.offers.seal(ctx, 0)
		if err != nil {
			return nil, err
		}
		r.offer, r.made, r.by, r.next = env, now, key, next
	}
	return r.offer, nil
}

// Post implements door.Rooms.
func (r *rooms) Post(ctx context.Context, env *whisper.Envelope) error {
	err := r.node.Post(ctx, env)
	if err == nil || errors.Is(err, whisper.ErrKnown) { // a client that posts again missed the answer
		return nil
	}
	for _, theirs := range []error{
		whisper.ErrMalformed, whisper.ErrExpired, whisper.ErrFuture, whisper.ErrLifetime, whisper.ErrTooLarge, whisper.ErrLowPoW, whisper.ErrUnwanted,
	} {
		if errors.Is(err, theirs) {
			return err
		}
	}
	return errors.Join(door.ErrUnavailable, err)
}

// startDoor opens the door to behind.
func (n *Node) startDoor(cfg config.Config, behind *rooms, logger *slog.Logger) error {
	limits := doorLimits(cfg, logger)
	d, err := door.New(door.Options{
		App:   doorApp(cfg),
		Rooms: behind, CertFile: cfg.Door.CertFile, KeyFile: cfg.Door.KeyFile, ForwardedFor: cfg.Door.ForwardedFor,
		MaxRequest: pushwire.MaxData + envelopeHead, // mail requests are shorter
		MaxPost:    int(n.whisper.MaxMessageSize()) + envelopeHead,
		Limits:     limits, Source: n.source, Logger: logger, Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", rpc.HostPort(cfg.Door.Addr, cfg.Door.Port))
	if err != nil {
		return rpc.ListenError(err, rpc.WhatDoor, cfg.Door.Port, "door.port", "door.addr")
	}
	d.Serve(listener)
	n.onStop(d.Close)
	n.onReload(section{
		keys: []string{"Door.Rings", "Door.ForwardedFor", "Door.App", "Door.CertFile", "Door.KeyFile"},
		prepare: func(before, next config.Config) (replacement, error) {
			if before.Door == next.Door {
				return replacement{}, nil
			}
			apply, err := d.Prepare(door.Settings{
				CertFile: next.Door.CertFile, KeyFile: next.Door.KeyFile, ForwardedFor: next.Door.ForwardedFor,
				Limits: doorLimits(next, logger), App: doorApp(next),
			})
			return replacement{apply: apply}, err
		},
	})
	n.door = "http://" + listener.Addr().String()
	if d.TLS() {
		n.door = "https://" + listener.Addr().String()
	}
	return nil
}

// doorApp is the messenger for browsers, nil if the settings turn it off.
func doorApp(cfg config.Config) http.Handler {
	if !cfg.Door.App {
		return nil
	}
	return app.Handler()
}

// doorLimits are the limits of the settings, lowered if the system allows too few files for them.
func doorLimits(cfg config.Config, logger *slog.Logger) door.Limits {
	limits := door.Limits{Rings: cfg.Door.Rings, Connections: cfg.Door.Rings + cfg.Door.Rings/2}
	if files := openFiles(); files > 0 && limits.Connections > files-filesElsewhere {
		limits.Connections = max(files-filesElsewhere, files/2)
		logger.Warn("the system lets this process have fewer files than the door may have connections; raise its limit, such as LimitNOFILE of systemd, or lower Door.Rings", "files", files, "connections", limits.Connections)
	}
	return limits
}
