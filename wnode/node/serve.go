package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/config"
)

// Again is how the settings of a running node are read again.
type Again struct {
	// Read returns the settings, complete and checked. nil: they cannot be read again.
	Read func() (config.Config, error)
	// Asked has a value for each request to reload. It may be nil.
	Asked <-chan struct{}
}

// Serve runs a node until ctx ends. It reloads the settings when asked to; see Node.Reload.
func Serve(ctx context.Context, cfg config.Config, again Again, stdout, stderr io.Writer) error {
	least := new(slog.LevelVar)
	least.Set(level(cfg.Log.Verbosity))
	logger := newLogger(stderr, cfg.Log.Format, least)
	garbage := newCollector()
	defer garbage.stop()
	n, err := Start(cfg, logger)
	if err != nil {
		return err
	}
	defer func() {
		n.Stop()
		logger.Info("stopped")
	}()
	if err := n.announce(stdout); err != nil {
		return err
	}
	garbage.run()
	n.onReload(logSection(least))
	reload := func() ([]string, error) { return n.reloadFrom(again.Read, logger) }
	n.again.Store(&reload)
	logger.Info("the node runs", "mailserver", n.archive != nil, "push", n.push != nil, "ipc", n.ipc, "listening", n.urls())
	daemon.SdNotify(false, daemon.SdNotifyReady) // to systemd, if it started us
	defer inBackground(func(ctx context.Context) { feedWatchdog(ctx, n.healthy, logger) })()

	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-again.Asked:
			reload() // which logs the result
		}
	}
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	logger.Info("stopping; a second signal ends the node at once")
	return nil
}

// reloadFrom reloads the settings that read returns, and logs the result.
func (n *Node) reloadFrom(read func() (config.Config, error), logger *slog.Logger) (changed []string, err error) {
	if read == nil {
		return nil, fmt.Errorf("%w: the node was started without settings that could be read again", errNothingReloaded)
	}
	next, err := read()
	if err != nil {
		err = fmt.Errorf("%w: %w", errNothingReloaded, err)
	} else {
		changed, err = n.Reload(next)
	}
	if err != nil {
		logger.Error("the settings are not reloaded; the node goes on with those it has", "err", err)
		return nil, err
	}
	logger.Info("the settings are reloaded", "changed", strings.Join(changed, ", "))
	return changed, nil
}

// announce prints what others need to reach the node, one per line. Redaction would remove it from a log.
func (n *Node) announce(w io.Writer) error {
	text := fmt.Sprintf("enode: %s\n", n.link.Self().URLv4())
	if key := n.PushKey(); key != nil {
		text += fmt.Sprintf("pushkey: %s\n", hexutil.Encode(crypto.FromECDSAPub(key)))
	}
	for _, vapid := range n.vapid {
		label := "vapidkey"
		if len(n.vapid) > 1 {
			label += " " + vapid.Provider
		}
		text += fmt.Sprintf("%s: %s\n", label, vapid.Key)
	}
	if n.door != "" {
		text += fmt.Sprintf("door: %s\n", n.door)
	}
	_, err := io.WriteString(w, text)
	return err
}

// urls lists the HTTP listeners as host:port, because redaction would remove whole URLs.
func (n *Node) urls() []string {
	var urls []string
	if n.door != "" {
		scheme, addr, _ := strings.Cut(n.door, "://")
		urls = append(urls, "door "+scheme+" "+addr)
	}
	for _, l := range n.http {
		urls = append(urls, l.Scheme+" "+l.Addr.String())
	}
	return urls
}
