package wnode

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/config"
	"whisperpush/mailserver"
	"whisperpush/pushext"
	"whisperpush/whisper"
)

// newPush builds the push extension with its keys and providers. Nothing of it is on the disk before.
func newPush(cfg config.Config, nodeKey *ecdsa.PrivateKey, providers []pushext.Provider, archive *mailserver.Archive, node *whisper.Node, logger *slog.Logger, registry prometheus.Registerer) (*pushext.Extension, *ecdsa.PublicKey, error) {
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
		Log:           pushLog{archive},
		Envelopes:     pushLog{archive},
		Sender:        node,
		Providers:     providers,
		SkipChallenge: cfg.Push.SkipChallenge,
		Logger:        logger,
		Registerer:    registry,
	})
	if err != nil {
		return nil, nil, err
	}
	if len(providers) == 0 {
		logger.Warn("push is on without a provider: nobody can register", "remedy", "add a [[Push.Provider]] table to the --config file")
	}
	return extension, &key.PublicKey, nil
}

// pushSecret is the path of a secret's file: the one the operator named, which must be there, or the one of ours.
// Ours may only be missing while there is no registration that depends on it.
func pushSecret(named, setting, ours, dir, loss string) (string, error) {
	if named != "" {
		return named, mustExist(named, setting)
	}
	_, missing := os.Stat(ours)
	if entries, _ := os.ReadDir(dir); missing != nil && len(entries) > 0 {
		return "", fmt.Errorf("%s is missing, and without it %s; put it back, or move %s away to begin anew", ours, loss, dir)
	}
	return ours, nil
}

func stopPush(extension *pushext.Extension) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return extension.Stop(ctx)
}
