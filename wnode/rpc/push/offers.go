package push

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
)

const (
	// maxOffers is how many mailservers' offers are kept; anybody can announce any number.
	maxOffers = 256
	// offerBuffer is how many offers wait to be read; the oldest goes first.
	offerBuffer = 64
)

// offers are the newest offer of each mailserver, by push key. (Package servers, which ranks them for an app that chooses by
// itself, knows in its tests what a node is, and so cannot be part of one.) The zero value is empty.
type offers struct {
	mu   sync.Mutex
	held map[string]client.Discovered
}

// add takes an offer that is newer than the one that there is. Where there are too many the one that ends first goes.
func (o *offers) add(d client.Discovered, now time.Time) {
	key := hex.EncodeToString(crypto.CompressPubkey(d.PushKey))
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held == nil {
		o.held = map[string]client.Discovered{}
	}
	if held, ok := o.held[key]; ok && held.Issued >= d.Issued {
		return
	}
	o.held[key] = d
	o.expire(now)
	if len(o.held) <= maxOffers {
		return
	}
	first := key
	for other, held := range o.held {
		if held.Expires < o.held[first].Expires {
			first = other
		}
	}
	delete(o.held, first)
}

// expire drops what is over. The caller holds mu.
func (o *offers) expire(now time.Time) {
	for key, held := range o.held {
		if uint64(now.Unix()) >= held.Expires {
			delete(o.held, key)
		}
	}
}

// list returns them as callers get them: what is free first, then by push key.
func (o *offers) list(now time.Time) []Offer {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	list := []Offer{}
	for key, d := range o.held {
		offer := Offer{
			PushKey: "0x" + key, Enode: d.Enode, Providers: []Provider{}, Channels: d.Limits.Channels, Lifetime: d.Limits.Lifetime,
			Price: d.Price, Issued: d.Issued, Expires: d.Expires,
		}
		for _, p := range d.Providers {
			offer.Providers = append(offer.Providers, Provider{p.Name, p.Info})
		}
		list = append(list, offer)
	}
	slices.SortFunc(list, func(x, y Offer) int { return cmp.Or(cmp.Compare(x.Price, y.Price), cmp.Compare(x.PushKey, y.PushKey)) })
	return list
}

// hearOffers keeps the offers that the node hears, until the API ends.
func (a *API) hearOffers() error {
	heard, err := a.cfg.Network.Subscribe(pushwire.OfferFilter(), offerBuffer)
	if err != nil {
		return err
	}
	a.work.Go(func() {
		defer heard.Close()
		for {
			select {
			case received, open := <-heard.C():
				if !open {
					return
				}
				found, err := client.ReadOffer(received.Envelope, time.Now())
				if err != nil {
					a.logger.Debug("an offer of no use", "err", err)
					continue
				}
				a.offers.add(found, time.Now())
			case <-a.life.Done():
				return
			}
		}
	})
	return nil
}

// Offers lists the mailservers with push that announced themselves since the node was started, what is free first. Nothing
// vouches for who runs one, nor for the address that an offer leads to: have people choose.
func (a *API) Offers(context.Context) ([]Offer, error) { return a.offers.list(time.Now()), nil }
