package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/whisper/uplink"
)

const (
	// maxDiscovered bounds the servers that one Discover remembers, because anybody
	// can announce any number.
	maxDiscovered = 1024
	// maxDiscoverPause bounds the growing pause before an unreachable node is dialled
	// again. A node accepts one connection from an address in 30 s.
	maxDiscoverPause = 35 * time.Second
	// maxOfferSkew is how far in the future an offer may be issued.
	maxOfferSkew = 5 * time.Minute
)

// Discovered is a mailserver with push that announced itself.
type Discovered struct {
	pushwire.Offer
	PushKey *ecdsa.PublicKey // the signer of the offer, or the key that follows it; it names the account's server
}

// Discover listens on the discovery topic through the Whisper nodes with these enode
// URLs. It hands found each server that announces itself, and each later offer of the
// same server. It returns nil as soon as found returns true, or an error when ctx
// ends. Servers announce themselves every few minutes, and a node passes on at once
// what it has heard.
//
// An offer that reaches found was signed by its push key or the one before it, has
// not expired, and names a node. Nothing vouches for the server behind it. Its
// operator sees when the device is woken, so let people choose whom they trust.
func Discover(ctx context.Context, nodes []string, logger *slog.Logger, found func(Discovered) (enough bool)) error {
	var peers []*enode.Node
	for _, url := range nodes {
		peer, err := enode.ParseV4(url)
		if err != nil {
			return fmt.Errorf("client: %.40q is not an enode URL: %w", url, err)
		}
		peers = append(peers, peer)
	}
	if len(peers) == 0 {
		return errors.New("client: discovery needs a Whisper node to listen through")
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	bloom := pushwire.OfferTopic().Bloom()
	node, err := whisper.NewNode(whisper.Config{Bloom: &bloom, LightNode: true, Logger: logger})
	if err != nil {
		return err
	}
	if err := node.Start(); err != nil {
		return err
	}
	defer node.Stop()
	offers, err := node.Subscribe(pushwire.OfferFilter(), maxDiscovered)
	if err != nil {
		return err
	}
	defer offers.Close()
	listening, cancel := context.WithCancel(ctx)
	var links sync.WaitGroup
	defer links.Wait()
	defer cancel()
	for _, peer := range peers {
		links.Go(func() { stayConnected(listening, node, peer, logger) })
	}

	newest := make(map[[pushwire.PushKeySize]byte]uint64) // issue times by push key
	for {
		select {
		case received := <-offers.C():
			server, err := ReadOffer(received.Envelope, time.Now())
			if err != nil {
				logger.Debug("an offer of no use", "err", err)
				continue
			}
			id := [pushwire.PushKeySize]byte(crypto.CompressPubkey(server.PushKey))
			last, known := newest[id]
			if known && last >= server.Issued || !known && len(newest) >= maxDiscovered {
				continue
			}
			newest[id] = server.Issued
			if found(server) {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stayConnected keeps a link to a node until ctx ends.
func stayConnected(ctx context.Context, node *whisper.Node, peer *enode.Node, logger *slog.Logger) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, maxDiscoverPause) {
		link, err := uplink.Dial(ctx, uplink.Config{Node: node, Server: peer, Name: deviceName})
		if err == nil {
			select {
			case <-link.Context().Done():
				err = context.Cause(link.Context())
			case <-ctx.Done():
			}
			link.Close()
			pause = firstPause
		}
		if ctx.Err() == nil {
			logger.Debug("no link to a node to discover through", "err", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// ReadOffer opens an offer from the discovery topic, and checks what can be checked
// in it, as Discover does: the signature, the times, and that it names a node.
func ReadOffer(env *whisper.Envelope, now time.Time) (Discovered, error) {
	offer, pushKey, err := pushwire.OpenOffer(env)
	if err != nil {
		return Discovered{}, err
	}
	if uint64(now.Unix()) >= offer.Expires {
		return Discovered{}, errors.New("client: offer has expired")
	}
	if offer.Issued > uint64(now.Add(maxOfferSkew).Unix()) {
		return Discovered{}, errors.New("client: offer of the future")
	}
	if _, err := enode.Parse(enode.ValidSchemes, offer.Enode); err != nil {
		return Discovered{}, errors.New("client: offer names no node")
	}
	next, err := offer.PushKey(pushKey)
	if err != nil {
		return Discovered{}, err
	}
	if pushKey, err = crypto.DecompressPubkey(next); err != nil {
		return Discovered{}, err
	}
	return Discovered{offer, pushKey}, nil
}
