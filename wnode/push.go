package wnode

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

	"whisperpush/config"
	"whisperpush/pushext"
	"whisperpush/whisper"
)

// newPush builds the push extension with its keys and providers. log may get its archive later, before the extension
// starts.
func newPush(cfg config.Config, nodeKey *ecdsa.PrivateKey, providers []pushext.Provider, log *pushLog, node *whisper.Node, logger *slog.Logger, registry prometheus.Registerer) (*pushext.Extension, *ecdsa.PrivateKey, error) {
	dir := filepath.Join(cfg.Node.DataDir, "push")
	keyPath, err := pushSecret(cfg.Push.KeyFile, "Push.KeyFile", filepath.Join(cfg.Node.DataDir, "pushkey"), dir,
		"no registered device would find its mail server again")
	if err != nil {
		return nil, nil, err
	}
	key, err := loadOrCreateKey(keyPath, "push key")
	if err != nil {
		return nil, nil, err
	}
	if key.Equal(nodeKey) {
		return nil, nil, fmt.Errorf("the push key in %s is the node key too; they must differ, so that a registration tells nothing of the node", keyPath)
	}
	diskPath, err := pushSecret(cfg.Push.DiskKeyFile, "Push.DiskKeyFile", filepath.Join(cfg.Node.DataDir, "push.disk.key"), dir,
		"the registrations cannot be read")
	if err != nil {
		return nil, nil, err
	}
	diskKey, err := loadOrCreateSecret(diskPath, "disk key", randomSecret)
	if err != nil {
		return nil, nil, err
	}
	extension, err := pushext.New(pushext.Config{
		Dir:           dir,
		PushKey:       key,
		DiskKey:       diskKey,
		Log:           log,
		Envelopes:     log,
		Sender:        node,
		Providers:     providers,
		SkipChallenge: cfg.Push.SkipChallenge,
		Limits:        pushLimits(cfg.Push.Limits),
		Delivery:      pushDelivery(cfg.Push),
		Logger:        logger,
		Registerer:    registry,
	})
	if errors.Is(err, pushext.ErrDiskKey) {
		return nil, nil, fmt.Errorf("the disk key in %s is not the one that %s was sealed with; put that one there, or move %s away to begin with no registrations", diskPath, dir, dir)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(providers) == 0 {
		logger.Warn("push is on without a provider: nobody can register", "remedy", "add a [[Push.Provider]] table to the --config file")
	}
	return extension, key, nil
}

// pushLimits are the settings' limits; the others have their defaults.
func pushLimits(l config.Limits) pushext.Limits {
	limits := pushext.Limits{
		Registrations: l.Registrations,
		Channels:      l.Channels,
		Lifetime:      time.Duration(l.Lifetime),
		PerSource:     l.PerSource,
		PoW:           l.PoW,
	}
	if limits.PoW == 0 {
		limits.PoW = -1 // none
	}
	return limits
}

// pushDelivery is the settings' delivery, with the budgets and rates of the providers that have their own.
func pushDelivery(p config.Push) pushext.Delivery {
	budget := pushext.Budget{Burst: p.Delivery.Burst, Every: time.Duration(p.Delivery.Every)}
	delivery := pushext.Delivery{
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

// pushSecret is the path of a secret's file: the one the operator named, which must be there, or the one of ours.
// Ours may only be missing while there is no registration that depends on it.
func pushSecret(named, setting, ours, dir, loss string) (string, error) {
	if named != "" {
		return named, mustExist(named, setting)
	}
	return ours, mustOutlive(ours, dir, loss)
}

// mustOutlive refuses to go on without a secret that the registrations in dir depend on.
func mustOutlive(secret, dir, loss string) error {
	_, missing := os.Stat(secret)
	if entries, _ := os.ReadDir(dir); missing != nil && len(entries) > 0 {
		return fmt.Errorf("%s is missing, and without it %s; put it back, or move %s away to begin anew", secret, loss, dir)
	}
	return nil
}

func stopPush(extension *pushext.Extension) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return extension.Stop(ctx)
}
