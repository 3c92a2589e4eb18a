package node

import (
	"context"
	"fmt"
	"io"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/config"
)

// Serve runs a node until ctx ends.
func Serve(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	logger := NewLogger(stderr, cfg.Log)
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
	logger.Info("the node runs", "mailserver", n.archive != nil, "push", n.push != nil, "ipc", n.ipc, "listening", n.urls())
	daemon.SdNotify(false, daemon.SdNotifyReady) // to systemd, if that started us
	defer inBackground(func(ctx context.Context) { feedWatchdog(ctx, n.healthy, logger) })()

	<-ctx.Done()
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	logger.Info("stopping; a second signal ends the node at once")
	return nil
}

// announce prints what others need to reach the node, a line each. Redaction would take it out of the log.
func (n *Node) announce(w io.Writer) error {
	text := fmt.Sprintf("enode: %s\n", n.link.Self().URLv4())
	if n.pushKey != nil {
		text += fmt.Sprintf("pushkey: %s\n", hexutil.Encode(crypto.FromECDSAPub(n.pushKey)))
	}
	for _, vapid := range n.vapid {
		label := "vapidkey"
		if len(n.vapid) > 1 {
			label += " " + vapid.Provider
		}
		text += fmt.Sprintf("%s: %s\n", label, vapid.Key)
	}
	_, err := io.WriteString(w, text)
	return err
}

// urls lists the HTTP listeners as host:port, for redaction would take whole URLs.
func (n *Node) urls() []string {
	var urls []string
	for _, l := range n.http {
		urls = append(urls, l.Scheme+" "+l.Addr.String())
	}
	return urls
}
