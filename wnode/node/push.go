package node

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/cluster"
	"whisperpush/config"
	"whisperpush/postgres"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/pushext/voucher"
	"whisperpush/whisper"
)

// ErrOneKey completes a sentence about the push key.
var ErrOneKey = errors.New("is the node key too; they must differ, so that a registration tells nothing of the node")

// pushDir is the directory of the registrations and the outbox.
func pushDir(cfg config.Config) string { return filepath.Join(cfg.Node.DataDir, "push") }

// pushServer is the push server of a node: one with its own database (pushserver), or a node's part in a shared one
// (cluster).
type pushServer interface {
	pushHandler
	Limits() pushwire.Limits
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Probe() error
	Position() uint64
	Providers(now time.Time) []pushserver.ProviderState
	HeardWith(ctx context.Context, pushKey *ecdsa.PublicKey) (heard, all int, err error)
	operatedPush
}

// operatedPush is what an operator can ask of a push server.
type operatedPush interface {
	Registrations(after pushserver.RegistrationID, limit int, now time.Time) ([]pushserver.Summary, pushserver.RegistrationID, error)
	Registration(id pushserver.RegistrationID, now time.Time) (pushserver.Standing, bool, error)
	Revoke(id pushserver.RegistrationID, now time.Time) (bool, error)
	Usage() []pushserver.Use
	HoldProvider(name string) error
	ReleaseProvider(name string) error
	DrainProvider(ctx context.Context, name string) error
}

var (
	_ pushServer = (*pushserver.Server)(nil)
	_ pushServer = (*cluster.Server)(nil)
)

// newPush builds the push server with its keys and providers: on the database db, which other nodes may share, or on the
// data directory if db is nil. log may get its archive later, before the server starts. taken is called with push keys
// that the nodes on db have exchanged.
func newPush(cfg config.Config, db *postgres.DB, nodeKey *ecdsa.PrivateKey, providers []pushext.Provider, log *pushLog, node *whisper.Node, taken func(pushserver.Keys), logger *slog.Logger, registry prometheus.Registerer) (pushServer, *pushserver.Keys, error) {
	dir := pushDir(cfg)
	file := PushKeyFile(cfg)
	keys, err := loadPushKeys(cfg)
	if err != nil {
		return nil, nil, err
	}
	if keys.Current.Equal(nodeKey) {
		return nil, nil, fmt.Errorf("the push key in %s %w", file.Path(), ErrOneKey)
	}
	diskKey, _, err := DiskKeyFile(cfg).Load()
	if err != nil {
		return nil, nil, err
	}
	admission, err := pushAdmission(cfg.Push.Vouchers)
	if err != nil {
		return nil, nil, err
	}
	settings := pushserver.Config{
		Dir:           dir,
		PushKey:       keys.Current,
		FormerKeys:    keys.Former,
		DiskKey:       diskKey,
		Log:           log,
		Envelopes:     log,
		Sender:        node,
		Providers:     providers,
		SkipChallenge: cfg.Push.SkipChallenge,
		Admission:     admission,
		Limits:        pushLimits(cfg.Push.Limits),
		Delivery:      pushDelivery(cfg.Push),
		Logger:        logger,
		Registerer:    registry,
	}
	if len(providers) == 0 {
		logger.Warn("push is on without a provider: nobody can register", "remedy", "add a [[Push.Provider]] table to the --config file")
	}
	if db != nil {
		server, err := newCluster(cfg, db, settings, taken)
		if err != nil {
			return nil, nil, err
		}
		return server, &keys, nil
	}
	server, err := openPush(settings, DiskKeyFile(cfg))
	if errors.Is(err, pushserver.ErrDiskKey) {
		return nil, nil, fmt.Errorf("the disk key in %s is not the one that %s was sealed with; put that one there, or move %s away to begin with no registrations", DiskKeyFile(cfg).Path(), dir, dir)
	}
	if err != nil {
		return nil, nil, err
	}
	return server, &keys, nil
}

// pushAdmission is what the settings require for a registration, nil for nothing.
func pushAdmission(v config.Vouchers) (pushserver.Admission, error) {
	if len(v.KeyFiles) == 0 {
		return nil, nil
	}
	vouchers := pushserver.Vouchers{Term: time.Duration(v.Term), FreeChannels: v.FreeChannels}
	for _, file := range v.KeyFiles {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a voucher key of Push.Vouchers.KeyFiles: %w", err)
		}
		key, err := voucher.ParsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("read the voucher key in %s (Push.Vouchers.KeyFiles): %w; wnode voucher key makes one", file, err)
		}
		vouchers.Keys = append(vouchers.Keys, key)
	}
	return vouchers, nil
}

// pushLimits are the limits in the settings; the others have their defaults.
func pushLimits(l config.Limits) pushserver.Limits {
	limits := pushserver.Limits{
		Registrations: l.Registrations,
		Channels:      l.Channels,
		Lifetime:      time.Duration(l.Lifetime),
		PerSource:     l.PerSource,
		PoW:           l.PoW,
		SealedOnly:    l.SealedOnly,
	}
	if limits.PoW == 0 {
		limits.PoW = -1 // none
	}
	return limits
}

// pushDelivery is the delivery in the settings, with the budgets and rates of providers that have their own.
func pushDelivery(p config.Push) pushserver.Delivery {
	budget := pushext.Budget{Burst: p.Delivery.Burst, Every: time.Duration(p.Delivery.Every)}
	delivery := pushserver.Delivery{
		TTL:         time.Duration(p.Delivery.TTL),
		SilentAfter: p.Delivery.SilentAfter,
		LadderDelay: time.Duration(p.Delivery.LadderDelay),
		LinkDelay:   time.Duration(p.Delivery.LinkDelay),
		FanOut:      p.Delivery.FanOut,
		Jitter:      time.Duration(p.Delivery.Jitter),
		Batch:       time.Duration(p.Delivery.Batch),
		Budget:      budget,
		Budgets:     map[string]pushext.Budget{},
		Rates:       map[string]float64{},
	}
	if delivery.FanOut == 0 {
		delivery.FanOut = -1 // no bound
	}
	if delivery.SilentAfter == 0 {
		delivery.SilentAfter = -1 // never
	}
	for _, provider := range p.Provider {
		own := budget
		if provider.Burst > 0 {
			own.Burst = provider.Burst
		}
		if provider.Every > 0 {
			own.Every = time.Duration(provider.Every)
		}
		if own != budget {
			delivery.Budgets[provider.Name] = own
		}
		if provider.Rate != 0 {
			delivery.Rates[provider.Name] = provider.Rate
		}
	}
	return delivery
}

func stopPush(server pushServer) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return server.Stop(ctx)
}
