package wnode

import (
	"context"
	"fmt"
	"io"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/config"
)

// serve runs a node until ctx ends.
func serve(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(stderr, cfg.Log)
	garbage := newCollector()
	defer garbage.stop()
	s, err := start(cfg, logger)
	if err != nil {
		return err
	}
	defer func() {
		s.stop()
		logger.Info("stopped")
	}()
	if err := s.announce(stdout); err != nil {
		return err
	}
	garbage.run()
	logger.Info("the node runs", "mailserver", s.archive != nil, "push", s.push != nil, "ipc", s.ipc, "listening", s.urls())
	daemon.SdNotify(false, daemon.SdNotifyReady) // to systemd, if that started us
	defer inBackground(func(ctx context.Context) { feedWatchdog(ctx, s.healthy, logger) })()

	<-ctx.Done()
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	logger.Info("stopping; a second signal ends the node at once")
	return nil
}

// announce prints what others need to reach the node, a line each. Redaction would take it out of the log.
func (s *server) announce(w io.Writer) error {
	text := fmt.Sprintf("enode: %s\n", s.link.Self().URLv4())
	if s.pushKey != nil {
		text += fmt.Sprintf("pushkey: %s\n", hexutil.Encode(crypto.FromECDSAPub(s.pushKey)))
	}
	for _, vapid := range s.vapid {
		label := "vapidkey"
		if len(s.vapid) > 1 {
			label += " " + vapid.provider
		}
		text += fmt.Sprintf("%s: %s\n", label, vapid.key)
	}
	_, err := io.WriteString(w, text)
	return err
}

// urls lists the HTTP listeners as host:port, for redaction would take whole URLs.
func (s *server) urls() []string {
	var urls []string
	for _, l := range s.http {
		urls = append(urls, l.scheme+" "+l.addr.String())
	}
	return urls
}
