package main

import (
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/whisper/mailserver"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// node is a genuine Whisper node and the events it reports.
type node struct {
	server  *p2p.Server
	shh     *whisper.Whisper
	mail    *countingMail // nil without a mailserver
	emit    func(event string, data interface{})
	quit    chan struct{}
	filters sync.WaitGroup
}

func serve(args []string) error {
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	var (
		listen    = fs.String("listen", "127.0.0.1:0", "`address` to listen on")
		nodeKey   = fs.String("nodekey", "", "node key, 64 `hex` digits (a new one)")
		pow       = fs.Float64("pow", whisper.DefaultMinimumPoW, "minimum PoW accepted")
		maxSize   = fs.Uint("maxsize", uint(whisper.DefaultMaxMessageSize), "maximum message size in `bytes`")
		light     = fs.Bool("light", false, "light client with an empty bloom filter, which subscriptions add to")
		maxPeers  = fs.Int("maxpeers", 50, "maximum number of peers")
		db        = fs.String("db", "", "`directory` of the mailserver's database; none, no mailserver")
		password  = fs.String("password", "", "password of mail requests")
		mailPoW   = fs.Float64("mspow", 0, "minimum PoW of mail requests")
		verbosity = fs.Int("verbosity", 0, "log level 0 to 5")
	)
	fs.Parse(args)
	logTo(*verbosity)

	key, err := crypto.GenerateKey()
	if *nodeKey != "" {
		key, err = crypto.HexToECDSA(*nodeKey)
	}
	if err != nil {
		return err
	}
	c := newControl(os.Stdin, os.Stdout)
	n := &node{emit: c.event, quit: make(chan struct{})}
	n.shh = whisper.StandaloneWhisperService(&whisper.Config{
		MaxMessageSize:                        uint32(*maxSize),
		MinimumAcceptedPOW:                    *pow,
		RestrictConnectionBetweenLightClients: true,
	})
	n.shh.SetMinimumPowTest(*pow)
	if *light {
		n.shh.SetLightClientMode(true)
		if err := n.shh.SetBloomFilter(make([]byte, whisper.BloomFilterSize)); err != nil {
			return err
		}
	}
	if *db != "" {
		n.mail = &countingMail{changed: make(chan struct{})}
		if err := n.mail.Init(n.shh, *db, *password, *mailPoW); err != nil {
			return err
		}
		defer n.mail.Close()
		n.shh.RegisterServer(n.mail)
	}
	n.server = &p2p.Server{Config: p2p.Config{
		PrivateKey:  key,
		MaxPeers:    *maxPeers,
		Name:        common.MakeName("wnode", "6.0"),
		Protocols:   n.protocols(),
		ListenAddr:  *listen,
		NoDiscovery: true,
	}}
	if err := n.server.Start(); err != nil {
		return err
	}
	defer n.server.Stop()
	n.shh.Start()
	n.emit("ready", n.info())
	c.run(n)
	close(n.quit)
	n.filters.Wait()
	return nil
}

// peerEvent reports that a Whisper link works (both statuses read, packets are
// being processed) or ended, and why.
type peerEvent struct {
	ID    enode.ID `json:"id"`
	Up    bool     `json:"up"`
	Error string   `json:"error,omitempty"`
}

// protocols are the genuine ones, with a handler that also reports when the
// handshake is over and the error with which a link ends.
func (n *node) protocols() []p2p.Protocol {
	protocols := n.shh.Protocols()
	for i := range protocols {
		handle := protocols[i].Run
		protocols[i].Run = func(p *p2p.Peer, rw p2p.MsgReadWriter) error {
			err := handle(p, &watchedLink{MsgReadWriter: rw, up: func() { n.emit("peer", peerEvent{ID: p.ID(), Up: true}) }})
			ev := peerEvent{ID: p.ID()}
			if err != nil {
				ev.Error = err.Error()
			}
			n.emit("peer", ev)
			return err
		}
	}
	return protocols
}

// watchedLink calls up when the handler reads for the second time: the first
// was the status.
type watchedLink struct {
	p2p.MsgReadWriter
	reads int // owned by the handler's read loop
	up    func()
}

func (l *watchedLink) ReadMsg() (p2p.Msg, error) {
	if l.reads++; l.reads == 2 {
		l.up()
	}
	return l.MsgReadWriter.ReadMsg()
}

// countingMail is the genuine mailserver with a count of what it archived.
type countingMail struct {
	mailserver.WMailServer

	mu          sync.Mutex // guards the following fields
	count       int
	first, last int64
	waitFor     int           // the lowest count that anybody waits for, or 0
	changed     chan struct{} // closed and replaced when that is reached
}

// Archive stores env and counts it.
func (m *countingMail) Archive(env *whisper.Envelope) {
	m.WMailServer.Archive(env)
	now := time.Now().UnixNano()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.count++; m.count == 1 {
		m.first = now
	}
	m.last = now
	if m.waitFor != 0 && m.count >= m.waitFor {
		close(m.changed)
		m.changed, m.waitFor = make(chan struct{}), 0
	}
}

// archived is how many envelopes the mailserver archived since the start of the
// process, and when the first and the last of them were done (Unix ns).
type archived struct {
	Count int   `json:"count"`
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// await returns once at least n were archived, or when quit closes.
func (m *countingMail) await(n int, quit <-chan struct{}) (archived, error) {
	for {
		m.mu.Lock()
		a, changed := archived{m.count, m.first, m.last}, m.changed
		if a.Count < n && (m.waitFor == 0 || n < m.waitFor) {
			m.waitFor = n
		}
		m.mu.Unlock()
		if a.Count >= n {
			return a, nil
		}
		select {
		case <-changed:
		case <-quit:
			return a, errors.New("stopped")
		}
	}
}

// message is a decrypted message as a filter reports it.
type message struct {
	Filter    string            `json:"filter"`
	Hash      common.Hash       `json:"hash"`
	Topic     whisper.TopicType `json:"topic"`
	Payload   hex               `json:"payload"`
	Padding   hex               `json:"padding"`
	Signer    hex               `json:"signer,omitempty"`
	Recipient hex               `json:"recipient,omitempty"`
	Sent      uint32            `json:"sent"`
	TTL       uint32            `json:"ttl"`
	PoW       bits              `json:"pow"`
}

// filterPoll is how often a filter is emptied: whisperv6 does not report when
// it fills.
const filterPoll = 5 * time.Millisecond

// subscribe installs a filter and reports its messages until unsubscribed.
func (n *node) subscribe(f *whisper.Filter) (string, error) {
	id, err := n.shh.Subscribe(f)
	if err != nil {
		return "", err
	}
	n.filters.Add(1)
	go func() {
		defer n.filters.Done()
		tick := time.NewTicker(filterPoll)
		defer tick.Stop()
		for n.shh.GetFilter(id) != nil {
			for _, m := range f.Retrieve() {
				n.emit("message", newMessage(id, m))
			}
			select {
			case <-tick.C:
			case <-n.quit:
				return
			}
		}
	}()
	return id, nil
}

func newMessage(filter string, m *whisper.ReceivedMessage) message {
	pub := func(k *ecdsa.PublicKey) hex {
		if k == nil {
			return nil
		}
		return crypto.FromECDSAPub(k)
	}
	return message{Filter: filter, Hash: m.EnvelopeHash, Topic: m.Topic, Payload: m.Payload, Padding: m.Padding,
		Signer: pub(m.Src), Recipient: pub(m.Dst), Sent: m.Sent, TTL: m.TTL, PoW: newBits(m.PoW)}
}

// info is what the node is and holds.
type info struct {
	Enode          string   `json:"enode"`
	ID             enode.ID `json:"id"`
	MinPoW         float64  `json:"minPoW"`
	MaxMessageSize uint32   `json:"maxMessageSize"`
	Bloom          hex      `json:"bloom,omitempty"` // left out for a full node that set none
	Light          bool     `json:"light"`
	Pool           int      `json:"pool"`  // envelopes in the pool
	Peers          int      `json:"peers"` // devp2p links
}

func (n *node) info() info {
	return info{Enode: n.server.Self().URLv4(), ID: n.server.Self().ID(), MinPoW: n.shh.MinPow(), MaxMessageSize: n.shh.MaxMessageSize(),
		Bloom: n.shh.BloomFilter(), Light: n.shh.LightClientMode(), Pool: len(n.shh.Envelopes()), Peers: n.server.PeerCount()}
}

// Ways an envelope leaves the node.
const (
	viaNone    = "none"    // not at all: sealed only
	viaPool    = "pool"    // into the pool and from there to every peer
	viaDirect  = "direct"  // packet 127 to one peer
	viaRequest = "request" // packet 126 to one peer, which becomes trusted
)

func (n *node) send(env *whisper.Envelope, via string, peer enode.ID) error {
	switch via {
	case viaNone:
		return nil
	case viaPool, "":
		return n.shh.Send(env)
	case viaDirect:
		return n.shh.SendP2PMessage(peer[:], env)
	case viaRequest:
		return n.shh.RequestHistoricMessages(peer[:], env)
	}
	return fmt.Errorf("via %q: want none, pool, direct or request", via)
}
