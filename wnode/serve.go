package wnode

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/config"
)

// gcPercent is GOGC of a node, unless the environment sets one: the heap grows to five times of what is in use before
// it is collected. A collection competes with wake-ups for the processors, and takes tens of milliseconds on a small
// machine; at Go's own 100 there is one every second while 2,000 wake-ups a second are sent, which made up most of
// those that took long. And at the start, when nearly all that is allocated stays, going over it again and again takes a
// sixth of the time. A memory limit (GOMEMLIMIT) holds all the same.
const gcPercent = 400

// serve runs a node until ctx ends.
func serve(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	logger := newLogger(stderr, cfg.Log)
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	s, err := start(cfg, logger)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.announce(stdout); err != nil {
		return err
	}
	logger.Info("the node runs", "mailserver", s.archive != nil, "push", s.push != nil, "ipc", s.ipc, "listening", s.urls())
	daemon.SdNotify(false, daemon.SdNotifyReady) // to systemd, if that started us
	defer inBackground(func(ctx context.Context) { feedWatchdog(ctx, s.healthy, logger) })()

	<-ctx.Done()
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	logger.Info("stopping; a second signal ends the node at once")
	return nil
}

// announce prints what others need to reach the node.
func (s *server) announce(w io.Writer) error {
	text := fmt.Sprintf("enode:   %s\n", s.link.Self().URLv4())
	if s.pushKey != nil {
		text += fmt.Sprintf("pushkey: %s\n", hexutil.Encode(crypto.FromECDSAPub(s.pushKey)))
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
