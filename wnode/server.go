package wnode

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/nat"
	"github.com/ethereum/go-ethereum/p2p/netutil"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/config"
	"whisperpush/mailserver"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver"
	"whisperpush/whisper"
	"whisperpush/whisper/devp2p"
	"whisperpush/wnode/shhrpc"
)

// server is a running node.
type server struct {
	link     *p2p.Server
	whisper  *whisper.Node
	archive  *archive.Archive     // nil: the mail server is off
	health   *archiveHealth       // nil: the mail server is off
	push     *pushserver.Server   // nil: push is off
	pushKey  *ecdsa.PublicKey     // nil: push is off
	registry *prometheus.Registry // of all metrics
	vapid    []vapidKey           // of the Web Push providers
	ipc      string               // path of the JSON-RPC socket; empty: none
	http     []*httpListener      // JSON-RPC, and last the metrics, as far as they are on

	source func(netip.Addr, enode.ID) whisper.Source // whom limits count; tests set another, nil is whisper's own

	stops []func() // what was started, in that order
}

// stopTimeout bounds how long the push server may take to put its attempts under way to rest.
const stopTimeout = 5 * time.Second

// start builds and starts a node. The error is one sentence for the operator, nothing is left running, and the data
// directory is as it was.
func start(cfg config.Config, logger *slog.Logger) (*server, error) {
	s := new(server)
	if err := s.build(cfg, logger); err != nil {
		s.stop()
		return nil, startError(cfg.Node.DataDir, err)
	}
	return s, nil
}

// build starts the parts of a node in the order of this function. After an error stop stops those that run.
func (s *server) build(cfg config.Config, logger *slog.Logger) error {
	// What can be told from the settings alone is told before anything is written.
	var providers []pushext.Provider
	var err error
	if cfg.Push.Enabled {
		if providers, err = openProviders(cfg.Push.Provider); err != nil {
			return err
		}
		s.onStop(func() { closeProviders(providers) })
	}
	password, err := mailPassword(cfg)
	if err != nil {
		return err
	}
	if err := checkDataDir(cfg.Node.DataDir); err != nil {
		return err
	}

	// The data directory is ours before anything in it is touched, and as it was if the start fails.
	data, err := claimDir(cfg.Node.DataDir)
	if err != nil {
		return err
	}
	s.onStop(data.release)
	if err := checkListeners(cfg); err != nil {
		return err
	}
	logger.Info("starting", "version", version(), "datadir", cfg.Node.DataDir)
	warnOfSettings(cfg, logger)
	nodeKey, err := loadNodeKey(cfg, logger)
	if err != nil {
		return err
	}
	s.registry = newRegistry()
	requests := newRequests(s.registry)

	settings := whisper.Config{
		MinPoW:         cfg.Shh.MinimumAcceptedPOW,
		MaxMessageSize: cfg.Shh.MaxMessageSize,
		RestrictLight:  cfg.Shh.RestrictConnectionBetweenLightClients,
		PeerBytes:      whisper.DefaultPeerBytes,
		PeerMessages:   whisper.DefaultPeerMessages,
		MaxInbound:     newLinkLimits(cfg.Node.MaxPeers).inbound,
		Source:         s.source,
		Requests:       requests,
		Logger:         logger,
		Registerer:     s.registry,
	}
	withMail := cfg.Mailserver.Enabled || cfg.Push.Enabled
	mailKey := sync.OnceValue(func() []byte { return whisper.KeyFromPassword(password) })
	if withMail {
		s.onStop(inBackground(func(context.Context) { mailKey() })) // slow on purpose
		s.health = new(archiveHealth)
		settings.Archiver = s.health
	}
	if s.whisper, err = whisper.NewNode(settings); err != nil {
		return err
	}

	// Archive and push are opened side by side: both read much, and neither needs the other before it starts.
	var opening sync.WaitGroup
	var archiveErr, pushErr error
	var log pushLog
	var pushKey *ecdsa.PrivateKey
	if withMail {
		opening.Go(func() { s.archive, archiveErr = openArchive(cfg, logger, s.registry) })
	}
	if cfg.Push.Enabled {
		opening.Go(func() {
			s.push, pushKey, pushErr = newPush(cfg, nodeKey, providers, &log, s.whisper, logger, s.registry)
		})
	}
	opening.Wait()
	if s.archive != nil {
		s.onStop(func() { logError(logger, "closing the archive", s.archive.Close()) })
		s.health.Archiver, log.Archive = s.archive, s.archive
		s.health.probe, s.health.parts = s.archive.Probe, s.archive.DamagedParts
	}
	s.onStop(s.whisper.Stop)
	if s.push != nil {
		s.onStop(func() { logError(logger, "stopping push", stopPush(s.push)) })
	}
	if err := cmp.Or(archiveErr, pushErr); err != nil {
		return err
	}

	// Then they start: the node that fills the archive, and those who answer requests.
	if err = s.whisper.Start(); err != nil {
		return err
	}
	var announce *announcer // nil: not asked for
	if s.push != nil {
		s.pushKey, s.vapid = &pushKey.PublicKey, vapidKeys(providers)
		if cfg.Push.Announce {
			announce = &announcer{
				key: pushKey, providers: describeProviders(cfg.Push.Provider, providers), limits: s.push.Limits(), node: s.whisper, logger: logger,
			}
		}
		if err = s.push.Start(context.Background()); err != nil {
			return err
		}
		requests.push = s.push
	}
	if withMail {
		mail, err := newMailServer(cfg, mailKey(), password != config.DefaultPassword, nodeKey, s.archive, s.whisper, logger, s.registry)
		if err != nil {
			return err
		}
		mail.Start()
		s.onStop(mail.Stop)
		requests.mail = mail
	}

	// Everything stands: let the network in, then the callers.
	if s.link, err = s.startLink(cfg, nodeKey, devp2p.Protocol(s.whisper), logger); err != nil {
		return err
	}
	data.keep() // peers may know of it from here on
	if announce != nil {
		announce.self = s.link.Self
		s.onStop(inBackground(announce.run))
	}
	if err = s.startRPC(cfg, logger); err != nil {
		return err
	}
	if cfg.Metrics.Enabled {
		metrics, err := listenMetrics(cfg.Metrics, s.registry, s.healthy, s.remark, logger)
		if err != nil {
			return err
		}
		s.onStop(metrics.close)
		s.http = append(s.http, metrics)
	}
	return nil
}

// onStop adds what stop calls; it calls the last added first.
func (s *server) onStop(stop func()) { s.stops = append(s.stops, stop) }

// inBackground runs f until what it returns is called, which waits for it.
func inBackground(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// stop stops what was started, in the opposite order, and waits for it.
func (s *server) stop() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
	s.stops = nil
}

func logError(logger *slog.Logger, doing string, err error) {
	if err != nil {
		logger.Error(doing, "err", err)
	}
}

// loadNodeKey is the key that the settings name.
func loadNodeKey(cfg config.Config, logger *slog.Logger) (*ecdsa.PrivateKey, error) {
	if cfg.Node.KeyHex != "" {
		return crypto.HexToECDSA(cfg.Node.KeyHex)
	}
	file := nodeKeyFile(cfg)
	secret, made, err := file.load()
	if err != nil {
		return nil, err
	}
	if entries, _ := os.ReadDir(archiveDir(cfg)); made && len(entries) > 0 {
		logger.Warn("there was no node key beside the archive, so clients that know this node by its former enode URL do not find it; put the former key back if there is one", "file", file.path())
	}
	return crypto.ToECDSA(secret)
}

// archiveDir is the directory of the mailserver's envelopes.
func archiveDir(cfg config.Config) string { return filepath.Join(cfg.Node.DataDir, "archive") }

func openArchive(cfg config.Config, logger *slog.Logger, registry prometheus.Registerer) (*archive.Archive, error) {
	retention := time.Duration(cfg.Mailserver.Retention)
	if retention == 0 {
		retention = -1 // for ever
	}
	return archive.Open(archiveDir(cfg), archive.Options{
		Retention:  retention,
		MaxBytes:   cfg.Mailserver.MaxBytes,
		Logger:     logger,
		Registerer: registry,
	})
}

// mailPassword is the mailserver's password.
func mailPassword(cfg config.Config) (string, error) {
	if path := cfg.Mailserver.PasswordFile; path != "" {
		return readPassword(path, "Mailserver.PasswordFile (--mailserver.password)")
	}
	return config.DefaultPassword, nil
}

func newMailServer(cfg config.Config, key []byte, secret bool, nodeKey *ecdsa.PrivateKey, store *archive.Archive, node *whisper.Node, logger *slog.Logger, registry prometheus.Registerer) (*mailserver.Server, error) {
	return mailserver.NewServer(mailserver.ServerConfig{
		Store:       store,
		Sender:      node,
		Key:         key,
		KeyIsSecret: secret,
		Identity:    nodeKey,
		Limits: mailserver.Limits{
			PeerRequests: cfg.Mailserver.RequestsPerMinute,
			ClassicBytes: cfg.Mailserver.MaxAnswerBytes,
		},
		Logger:     logger,
		Registerer: registry,
	})
}

// startLink lets the network in.
func (s *server) startLink(cfg config.Config, key *ecdsa.PrivateKey, protocol p2p.Protocol, logger *slog.Logger) (*p2p.Server, error) {
	natm, err := nat.Parse(cfg.Node.NAT)
	if err != nil {
		return nil, err
	}
	var restrict *netutil.Netlist // an empty list would allow nobody
	if cfg.Node.NetRestrict != "" {
		if restrict, err = netutil.ParseNetlist(cfg.Node.NetRestrict); err != nil {
			return nil, err
		}
	}
	limits := newLinkLimits(cfg.Node.MaxPeers)
	bootnodes, static := parseNodes(cfg.Node.BootstrapNodes), parseNodes(cfg.Node.StaticNodes)
	var late []bootnode
	if cfg.Node.NoDiscovery { // they cannot be asked for others, but they can be peers
		bootnodes, static = nil, append(static, bootnodes...)
	} else {
		var peers []*enode.Node
		all := checkBootnodes(context.Background(), bootnodes, net.DefaultResolver.LookupNetIP)
		bootnodes, peers, late = sortBootnodes(all, logger)
		static = append(static, peers...)
	}
	link := &p2p.Server{Config: p2p.Config{
		PrivateKey:      key,
		Name:            clientName(),
		MaxPeers:        limits.peers,
		DialRatio:       limits.dialRatio,
		MaxPendingPeers: limits.pending,
		ListenAddr:      cfg.Node.ListenAddr,
		NAT:             natm,
		NetRestrict:     restrict,
		NoDiscovery:     cfg.Node.NoDiscovery,
		DiscoveryV4:     !cfg.Node.NoDiscovery,
		DiscoveryV5:     !cfg.Node.NoDiscovery,
		BootstrapNodes:  bootnodes,
		StaticNodes:     static,
		TrustedNodes:    parseNodes(cfg.Node.TrustedNodes),
		NodeDatabase:    filepath.Join(cfg.Node.DataDir, "nodes"),
		Protocols:       []p2p.Protocol{protocol},
		Logger:          ethLogger(logger.With("part", "p2p")),
	}}
	link.BootstrapNodesV5 = link.BootstrapNodes
	if err := link.Start(); err != nil {
		link.Stop()
		return nil, listenError(err, "peers", portOf(cfg.Node.ListenAddr), "port", "addr")
	}
	s.onStop(link.Stop)
	tellOwnIP(link)
	if len(late) > 0 {
		s.onStop(inBackground(func(ctx context.Context) {
			resolveLate(ctx, late, net.DefaultResolver.LookupNetIP, func(b bootnode) { join(link, b, logger) })
		}))
	}
	return link, nil
}

// parseNodes reads enode URLs that the settings' check has passed.
func parseNodes(urls []string) []*enode.Node {
	var nodes []*enode.Node
	for _, url := range urls {
		nodes = append(nodes, enode.MustParse(url))
	}
	return nodes
}

// startRPC opens the JSON-RPC listeners.
func (s *server) startRPC(cfg config.Config, logger *slog.Logger) error {
	shh := shhrpc.New(s.whisper, logger)
	s.onStop(shh.Close)
	served := apis{
		shhrpc.Namespace: shh,
		"net":            netAPI{s.link},
		"web3":           web3API{},
		"admin":          adminAPI{s.link},
	}
	if !cfg.RPC.IPCDisable {
		path := ipcPath(cfg)
		stop, err := listenIPC(path, served)
		if err != nil {
			return err
		}
		s.onStop(stop)
		s.ipc = path
	}
	listeners, err := listenRPC(cfg.RPC, served, logger)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		s.onStop(l.close)
	}
	s.http = append(s.http, listeners...)
	return nil
}
