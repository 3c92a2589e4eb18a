package node

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
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
	"whisperpush/postgres"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/whisper/devp2p"
	"whisperpush/wnode/rpc"
	"whisperpush/wnode/rpc/push"
	"whisperpush/wnode/rpc/shh"
	"whisperpush/wnode/rpc/shhext"
)

// Node is a running node. Its methods may be called concurrently, except Stop, which only one goroutine may call.
type Node struct {
	log      *slog.Logger
	link     *p2p.Server
	whisper  *whisper.Node
	archive  Archive               // nil: the mailserver is off
	health   *archiveHealth        // nil: the mailserver is off
	store    *postgres.DB          // nil: archive and registrations are in the data directory
	push     pushServer            // nil: push is off
	registry *prometheus.Registry  // of all metrics
	metrics  prometheus.Registerer // where the parts register theirs: registry
	vapid    []VAPIDKey            // of the Web Push providers
	ipc      string                // path of the JSON-RPC socket; empty: none
	door     string                // the door's URL; empty: it is off
	paused   *pausedProviders      // nil: push is off
	http     []*rpc.Listener       // JSON-RPC, status page and metrics, in this order, as far as they are on

	pushKeys  atomic.Pointer[pushserver.Keys]          // nil: push is off
	cfg       atomic.Pointer[config.Config]            // replaced by Reload
	again     atomic.Pointer[func() ([]string, error)] // reads the settings again and adopts them; nil: Serve does not run the node, or not yet
	instances []instance                               // of the providers; guarded by reloading
	offers    atomic.Pointer[[]pushwire.ProviderOffer] // what apps are told about the providers
	secrets   []fileSum                                // of files that are read once; guarded by reloading
	reloading sync.Mutex                               // held by Reload
	sections  []section                                // guarded by reloading

	noting func(prometheus.Registerer) prometheus.Registerer // tests see what is registered; nil: nothing does

	source func(netip.Addr, enode.ID) whisper.Source // whom limits count; tests set another, nil means whisper's own

	stops []func() // stops what was started, in starting order
}

// stopTimeout bounds how long the push server may take to finish its attempts under way.
const stopTimeout = 5 * time.Second

// Start builds and starts a node from settings that config.Config.Validate has passed. If it fails, the error is one
// sentence for the operator, nothing is left running, and the data directory is as it was.
func Start(cfg config.Config, logger *slog.Logger) (*Node, error) {
	n := new(Node)
	n.cfg.Store(&cfg)
	if err := n.build(cfg, logger); err != nil {
		n.Stop()
		return nil, startError(cfg.Node.DataDir, err)
	}
	return n, nil
}

// build starts the parts of a node. Their order is decided here and nowhere else, which is why the function is long.
// Some parts are made before the parts they need, and get those before the first of them starts. After an error, Stop
// stops the parts that run.
func (n *Node) build(cfg config.Config, logger *slog.Logger) error {
	n.log = logger
	// Whatever the settings alone decide is checked before anything is written.
	var providers []pushext.Provider
	var err error
	if cfg.Push.Enabled {
		if providers, err = OpenProviders(cfg.Push.Provider); err != nil {
			return err
		}
		n.instances = newInstances(cfg.Push.Provider, providers)
		offers := offersOf(n.instances)
		n.offers.Store(&offers)
		n.onStop(func() { CloseProviders(asProviders(n.instances)) })
	}
	password, err := MailPassword(cfg)
	if err != nil {
		return err
	}
	statusToken, err := StatusToken(cfg)
	if err != nil {
		return err
	}
	if err := CheckDataDir(cfg.Node.DataDir); err != nil {
		return err
	}

	// The data directory is ours before anything in it is touched, and stays as it was if the start fails.
	data, err := claimDir(cfg.Node.DataDir)
	if err != nil {
		return err
	}
	n.onStop(data.release)
	if err := rpc.CheckListeners(cfg); err != nil {
		return err
	}
	logger.Info("starting", "version", Version(), "datadir", cfg.Node.DataDir)
	warnOfSettings(cfg, logger)
	nodeKey, err := loadNodeKey(cfg, logger)
	if err != nil {
		return err
	}
	n.registry = newRegistry()
	if n.metrics = n.registry; n.noting != nil {
		n.metrics = n.noting(n.registry)
	}
	requests := newRequests(n.metrics)

	settings := whisper.Config{
		MinPoW:         cfg.Shh.MinimumAcceptedPOW,
		MaxMessageSize: cfg.Shh.MaxMessageSize,
		RestrictLight:  cfg.Shh.RestrictConnectionBetweenLightClients,
		PeerBytes:      whisper.DefaultPeerBytes,
		PeerMessages:   whisper.DefaultPeerMessages,
		MaxInbound:     newLinkLimits(cfg.Node.MaxPeers).inbound,
		Source:         n.source,
		Requests:       requests,
		Logger:         logger,
		Registerer:     n.metrics,
	}
	withMail := cfg.Mailserver.Enabled || cfg.Push.Enabled
	mailKey := sync.OnceValue(func() []byte { return whisper.KeyFromPassword(password) })
	if withMail {
		n.onStop(inBackground(func(context.Context) { mailKey() })) // slow on purpose
		n.health = new(archiveHealth)
		settings.Archiver = n.health
	}
	if n.whisper, err = whisper.NewNode(settings); err != nil {
		return err
	}
	requests.answered = n.whisper.Answered

	if WithStore(cfg) {
		var leave func()
		if n.store, leave, err = openStore(cfg, logger); err != nil {
			return err
		}
		n.onStop(leave)
	} else if withMail && unfinished(cfg) {
		return ErrMoveHalf
	}
	// Archive and push are opened at the same time: both read much, and neither needs the other before it starts.
	var opening sync.WaitGroup
	var archiveErr, pushErr error
	var log pushLog
	var pushKeys *pushserver.Keys
	if withMail {
		opening.Go(func() { n.archive, archiveErr = openArchive(cfg, n.store, logger, n.metrics) })
	}
	if cfg.Push.Enabled {
		opening.Go(func() {
			n.push, pushKeys, pushErr = newPush(cfg, n.store, nodeKey, providers, &log, n.whisper, n.pushKeysTaken, logger, n.metrics)
		})
	}
	opening.Wait()
	if n.archive != nil {
		n.onStop(func() { logError(logger, "closing the archive", n.archive.Close()) })
		n.health.Archiver, log.Archive = n.archive, n.archive
		n.health.probe, n.health.parts = n.archive.Probe, n.archive.DamagedParts
	}
	n.onStop(n.whisper.Stop)
	if n.push != nil {
		n.onStop(func() { logError(logger, "stopping push", stopPush(n.push)) })
	}
	if err := cmp.Or(archiveErr, pushErr); err != nil {
		return err
	}

	// Then they start: the node that fills the archive, and the servers that answer requests.
	if err = n.whisper.Start(); err != nil {
		return err
	}
	var offers *announcer // nil: push is off
	if n.push != nil {
		n.pushKeys.Store(pushKeys)
		n.vapid = VAPIDKeys(providers)
		offers = &announcer{
			keys: n.announcedKey, providers: func() []pushwire.ProviderOffer { return *n.offers.Load() }, limits: n.push.Limits, node: n.whisper, logger: logger,
		}
		if n.paused, err = openPaused(cfg, n.push, logger); err != nil {
			return err
		}
		if err = n.push.Start(context.Background()); err != nil {
			return err
		}
		if shared, ok := n.push.(*sharedPush); ok {
			n.pushKeysTaken(shared.Keys()) // other nodes may have exchanged them while this node was away
		}
		requests.push = n.push
	}
	if withMail {
		var sign func([]byte) ([]byte, error) // nil: without push no answer is signed
		if n.push != nil {
			sign = func(digest []byte) ([]byte, error) {
				key, _ := n.announcedKey()
				return crypto.Sign(digest, key)
			}
		}
		mail, err := newMailServer(cfg, mailKey(), password != config.DefaultPassword, nodeKey, sign, n.archive, n.whisper, logger, n.metrics)
		if err != nil {
			return err
		}
		mail.Start()
		n.onStop(mail.Stop)
		requests.mail = mail
		n.onReload(mailSection(mail))
		if kept, ok := n.archive.(*archive.Archive); ok {
			n.onReload(boundsSection(kept))
		}
	}
	n.noteSecrets(cfg)
	n.onReload(n.whisperSection())
	switch server := n.push.(type) {
	case *pushserver.Server:
		n.onReload(n.pushSection(ownPush{server}))
	case *sharedPush:
		n.onReload(n.pushSection(server))
	}

	// Everything is ready: let in the network, then the callers.
	if n.link, err = n.startLink(cfg, nodeKey, devp2p.Protocol(n.whisper), logger); err != nil {
		return err
	}
	data.keep() // from here on peers may know of it
	if offers != nil {
		offers.self = n.link.Self
	}
	if offers != nil && cfg.Push.Announce {
		n.onStop(inBackground(offers.run))
	}
	if cfg.Door.Enabled {
		if err = n.startDoor(cfg, &rooms{requests: requests, node: n.whisper, offers: offers}, logger); err != nil {
			return err
		}
	}
	if err = n.startRPC(cfg, logger); err != nil {
		return err
	}
	judge := n.judge()
	n.onStop(judge.Close)
	if cfg.Status.Enabled {
		if err := n.startStatus(cfg, statusToken, judge, logger); err != nil {
			return err
		}
	}
	if cfg.Metrics.Enabled {
		metrics, err := listenMetrics(cfg.Metrics, n.registry, judge, logger)
		if err != nil {
			return err
		}
		n.onStop(metrics.Close)
		n.http = append(n.http, metrics)
	}
	return nil
}

// Self returns how peers reach the node: its enode URL.
func (n *Node) Self() *enode.Node { return n.link.Self() }

// AddPeer makes the node dial another one and keep redialling it.
func (n *Node) AddPeer(other *enode.Node) { n.link.AddPeer(other) }

// Whisper is the node's part in the message network. The node owns it.
func (n *Node) Whisper() *whisper.Node { return n.whisper }

// PushKey is the key that registrations are encrypted to, nil if push is off.
func (n *Node) PushKey() *ecdsa.PublicKey {
	keys := n.pushKeys.Load()
	if keys == nil {
		return nil
	}
	return &keys.Current.PublicKey
}

// Door returns the address of the door, such as http://127.0.0.1:8545; empty if it is off.
func (n *Node) Door() string { return n.door }

// Metrics gathers what /metrics shows, even if that is not served.
func (n *Node) Metrics() prometheus.Gatherer { return n.registry }

// onStop adds a function for Stop, which calls the last added first.
func (n *Node) onStop(stop func()) { n.stops = append(n.stops, stop) }

// inBackground runs f until the returned function is called, which waits for f.
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

// Stop stops what was started, in the opposite order, and waits.
func (n *Node) Stop() {
	for _, stop := range slices.Backward(n.stops) {
		stop()
	}
	n.stops = nil
}

func logError(logger *slog.Logger, doing string, err error) {
	if err != nil {
		logger.Error(doing, "err", err)
	}
}

// loadNodeKey returns the key that the settings name.
func loadNodeKey(cfg config.Config, logger *slog.Logger) (*ecdsa.PrivateKey, error) {
	if cfg.Node.KeyHex != "" {
		return crypto.HexToECDSA(cfg.Node.KeyHex)
	}
	file := NodeKeyFile(cfg)
	secret, made, err := file.Load()
	if err != nil {
		return nil, err
	}
	if entries, _ := os.ReadDir(ArchiveDir(cfg)); made && len(entries) > 0 {
		logger.Warn("there was no node key beside the archive, so clients that know this node by its former enode URL do not find it; put the former key back if there is one", "file", file.Path())
	}
	return crypto.ToECDSA(secret)
}

// ArchiveDir is the directory of the mailserver's envelopes.
func ArchiveDir(cfg config.Config) string { return filepath.Join(cfg.Node.DataDir, "archive") }

// openArchive opens the archive in db, or in the data directory if db is nil.
func openArchive(cfg config.Config, db *postgres.DB, logger *slog.Logger, registry prometheus.Registerer) (Archive, error) {
	if db != nil {
		return openSharedArchive(db, cfg, registry)
	}
	a, err := archive.Open(ArchiveDir(cfg), archive.Options{
		Retention:  retention(cfg),
		MaxBytes:   cfg.Mailserver.MaxBytes,
		Logger:     logger,
		Registerer: registry,
	})
	if err != nil {
		return nil, err // not a nil *archive.Archive in an interface
	}
	return a, nil
}

// MailPassword is the mailserver's password.
func MailPassword(cfg config.Config) (string, error) {
	if path := cfg.Mailserver.PasswordFile; path != "" {
		return ReadPassword(path, "Mailserver.PasswordFile (--mailserver.password)")
	}
	return config.DefaultPassword, nil
}

func newMailServer(cfg config.Config, key []byte, secret bool, nodeKey *ecdsa.PrivateKey, sign func([]byte) ([]byte, error), store mailserver.Store, node *whisper.Node, logger *slog.Logger, registry prometheus.Registerer) (*mailserver.Server, error) {
	return mailserver.NewServer(mailserver.ServerConfig{
		Store:       store,
		Sender:      node,
		Key:         key,
		KeyIsSecret: secret,
		Identity:    nodeKey,
		Sign:        sign,
		Limits:      mailLimits(cfg),
		Logger:      logger,
		Registerer:  registry,
	})
}

// startLink opens the node to the network.
func (n *Node) startLink(cfg config.Config, key *ecdsa.PrivateKey, protocol p2p.Protocol, logger *slog.Logger) (*p2p.Server, error) {
	natm, err := nat.Parse(cfg.Node.NAT)
	if err != nil {
		return nil, err
	}
	var restrict *netutil.Netlist // an empty list would allow no peer
	if cfg.Node.NetRestrict != "" {
		if restrict, err = netutil.ParseNetlist(cfg.Node.NetRestrict); err != nil {
			return nil, err
		}
	}
	limits := newLinkLimits(cfg.Node.MaxPeers)
	bootnodes, static := ParseNodes(cfg.Node.BootstrapNodes), ParseNodes(cfg.Node.StaticNodes)
	var late []Bootnode
	if cfg.Node.NoDiscovery { // they cannot be asked for other nodes, but they can be peers
		bootnodes, static = nil, append(static, bootnodes...)
	} else {
		var peers []*enode.Node
		all := CheckBootnodes(context.Background(), bootnodes, net.DefaultResolver.LookupNetIP)
		bootnodes, peers, late = sortBootnodes(all, logger)
		static = append(static, peers...)
	}
	link := &p2p.Server{Config: p2p.Config{
		PrivateKey:      key,
		Name:            ClientName(),
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
		TrustedNodes:    ParseNodes(cfg.Node.TrustedNodes),
		NodeDatabase:    filepath.Join(cfg.Node.DataDir, "nodes"),
		Protocols:       []p2p.Protocol{protocol},
		Logger:          ethLogger(logger.With("part", "p2p")),
	}}
	link.BootstrapNodesV5 = link.BootstrapNodes
	if err := link.Start(); err != nil {
		link.Stop()
		return nil, rpc.ListenError(err, "peers", rpc.PortOf(cfg.Node.ListenAddr), "port", "addr")
	}
	n.onStop(link.Stop)
	tellOwnIP(link)
	if len(late) > 0 {
		n.onStop(inBackground(func(ctx context.Context) {
			resolveLate(ctx, late, net.DefaultResolver.LookupNetIP, func(b Bootnode) { join(link, b, logger) })
		}))
	}
	return link, nil
}

// ParseNodes reads enode URLs that the check of the settings has passed.
func ParseNodes(urls []string) []*enode.Node {
	var nodes []*enode.Node
	for _, url := range urls {
		nodes = append(nodes, enode.MustParse(url))
	}
	return nodes
}

// startRPC opens the JSON-RPC listeners.
func (n *Node) startRPC(cfg config.Config, logger *slog.Logger) error {
	whisperCalls, stop := shh.New(n.whisper, logger)
	n.onStop(stop)
	extCalls, stop := shhext.New(n.whisper, whisperCalls, logger)
	n.onStop(stop)
	pushCalls, stop, err := push.New(n.localDevices(cfg, whisperCalls, logger))
	if err != nil {
		return err
	}
	n.onStop(stop)
	served := rpc.APIs{
		shh.Namespace:    whisperCalls,
		push.Namespace:   pushCalls,
		shhext.Namespace: extCalls,
		"net":            rpc.Net{Server: n.link},
		"web3":           rpc.Web3{Client: ClientName()},
		"admin":          rpc.Admin{Server: n.link},
	}
	if !cfg.RPC.IPCDisable {
		path := rpc.SocketPath(cfg)
		own := maps.Clone(served)
		copies := newStreams()
		n.onStop(copies.Close)
		own[administration] = &Admin{node: n, names: newNames(), streams: copies}
		stop, err := rpc.ListenSocket(path, own)
		if err != nil {
			return err
		}
		n.onStop(stop)
		n.ipc = path
	}
	listeners, err := rpc.Listen(cfg.RPC, served, logger)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		n.onStop(l.Close)
	}
	n.http = append(n.http, listeners...)
	return nil
}
