package node

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/config"
	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// announceEvery is how often a server announces itself.
	announceEvery = 5 * time.Minute
	// announceLife is how long an announcement stays on the network, so that every client that connects finds one in its
	// peer's pool.
	announceLife = 2 * announceEvery
	// offerLife is how long an offer stays valid, so clients with a list need not receive every announcement.
	offerLife = 24 * time.Hour
)

// announcer makes the server's offers; while it runs, it also announces them to the network.
type announcer struct {
	keys      func() (*ecdsa.PrivateKey, []pushwire.Succession) // the key that signs an offer, and the successions from that key
	providers func() []pushwire.ProviderOffer
	limits    func() pushwire.Limits
	self      func() *enode.Node // as peers reach the server, which may become known late
	node      *whisper.Node
	logger    *slog.Logger
}

// describeProviders is what apps are told about the providers: the info in the settings, or else from the provider
// itself.
func describeProviders(listed []config.Provider, providers []pushext.Provider) []pushwire.ProviderOffer {
	var offers []pushwire.ProviderOffer
	for i, provider := range providers {
		info := listed[i].Info
		if public, ok := provider.(interface{ PublicKey() string }); ok { // Web Push: without its key nobody can subscribe
			info = cmp.Or(info, public.PublicKey())
		}
		offers = append(offers, pushwire.ProviderOffer{Name: provider.Name(), Info: info})
	}
	return offers
}

// run announces until ctx ends.
func (a *announcer) run(ctx context.Context) {
	ticker := time.NewTicker(announceEvery)
	defer ticker.Stop()
	for {
		if err := a.post(ctx); err != nil && ctx.Err() == nil {
			a.logger.Warn("announcing the push server", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// post announces once.
func (a *announcer) post(ctx context.Context) error {
	env, err := a.seal(ctx, max(whisper.DefaultMinPoW, a.node.MinPoW()))
	if err != nil {
		return err
	}
	return a.node.Post(ctx, env)
}

// seal makes the announcement, with a proof of work of pow.
func (a *announcer) seal(ctx context.Context, pow float64) (*whisper.Envelope, error) {
	now := time.Now()
	key, successions := a.keys()
	return pushwire.SealOffer(ctx, pushwire.Offer{
		Issued:    uint64(now.Unix()),
		Expires:   uint64(now.Add(offerLife).Unix()),
		Enode:     a.self().URLv4(),
		Providers: a.providers(),
		Limits:    a.limits(),

		Successions: successions,
	}, key, announceLife, pow)
}
