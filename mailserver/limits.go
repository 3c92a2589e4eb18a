package mailserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"golang.org/x/time/rate"

	"whisperpush/mailserver/mailwire"
)

// Defaults of Limits; those of Bytes and Scan are DefaultMaxBytes and
// DefaultMaxScan.
const (
	DefaultRange        = 30 * 24 * time.Hour
	DefaultRows         = mailwire.MaxLimit
	DefaultClassicRows  = 200_000
	DefaultClassicBytes = 256 << 20
	DefaultPeerRequests = 120
	DefaultPeerQueue    = 16
	DefaultQueue        = 1024
	DefaultWorkers      = 16
	DefaultTimeout      = 2 * time.Minute
	DefaultSendTimeout  = 20 * time.Second
	DefaultClockSkew    = mailwire.MaxClockSkew
)

// Limits bounds what peers can ask of a Server. A zero field means its default.
type Limits struct {
	// Range is the longest time one page reaches back. An answer that is wider
	// is continued by its cursor. It does not apply to classic requests, which
	// have no cursor, nor to answers in the order of the log.
	Range time.Duration
	// Rows and Bytes bound a page: the whole answer, or, of a classic request,
	// what is read from the archive at a time. Twice Workers times Bytes bounds
	// the memory that answers take, but for single envelopes that are larger.
	Rows, Bytes int
	// Scan is how many archived envelopes are looked at for one page.
	Scan int
	// ClassicRows and ClassicBytes bound the whole answer to a classic request,
	// which is cut off there.
	ClassicRows, ClassicBytes int
	// PeerRequests is how many requests a peer may send a minute, and at once.
	PeerRequests int
	// PeerQueue is how many requests of one peer wait at most; one is served.
	PeerQueue int
	// Queue is how many requests of all peers wait at most.
	Queue int
	// Workers is how many requests are served at a time. As many again may wait
	// for peers that are slow to take their answer.
	Workers int
	// Timeout is the longest time one request is served.
	Timeout time.Duration
	// SendTimeout is the longest time a peer takes for sendBytes. One that is slow
	// to is given up before, if more than Workers are.
	SendTimeout time.Duration
	// ClockSkew is how far outside its life, from sent to expiry, a request is
	// still answered. Genuine mailservers do not check it at all, so it is meant
	// to stop old recordings only.
	ClockSkew time.Duration
}

const (
	// sendBytes is how much is handed to a peer at a time, and the size of a
	// batch: well below the least maximum message size in the field, 1 MiB. The
	// buffers that devp2p keeps for each link grow to some times this.
	sendBytes = 64 << 10
	// hashesAtOnce is how many envelopes are read by hash at a time.
	hashesAtOnce = 8
	// maxWindows is how many stretches of Limits.Range without envelopes are
	// skipped for one page.
	maxWindows = 32
	// maxTracked is how many peers' request rates are remembered.
	maxTracked = 4096
	// maxRefusals is how many refusals wait to be sent.
	maxRefusals = 64
	// refusalTimeout is the longest time a refusal takes.
	refusalTimeout = 2 * time.Second
	// crowdedRetry is when to come back to a mailserver with a full queue.
	crowdedRetry = 15 * time.Second
)

// withDefaults fills in what is zero and refuses what makes no sense.
func (l Limits) withDefaults() (Limits, error) {
	for _, f := range []struct {
		name    string
		value   *int
		instead int
	}{
		{"rows", &l.Rows, DefaultRows},
		{"bytes", &l.Bytes, DefaultMaxBytes},
		{"scan", &l.Scan, DefaultMaxScan},
		{"classic rows", &l.ClassicRows, DefaultClassicRows},
		{"classic bytes", &l.ClassicBytes, DefaultClassicBytes},
		{"peer requests", &l.PeerRequests, DefaultPeerRequests},
		{"peer queue", &l.PeerQueue, DefaultPeerQueue},
		{"queue", &l.Queue, DefaultQueue},
		{"workers", &l.Workers, DefaultWorkers},
	} {
		if *f.value < 0 {
			return l, fmt.Errorf("mailserver: limit of %s is negative: %d", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.instead
		}
	}
	for _, f := range []struct {
		name    string
		value   *time.Duration
		instead time.Duration
	}{
		{"range", &l.Range, DefaultRange},
		{"timeout", &l.Timeout, DefaultTimeout},
		{"send timeout", &l.SendTimeout, DefaultSendTimeout},
		{"clock skew", &l.ClockSkew, DefaultClockSkew},
	} {
		if *f.value == 0 {
			*f.value = f.instead
		}
		if *f.value < time.Second {
			return l, fmt.Errorf("mailserver: limit of %s is less than a second: %v", f.name, *f.value)
		}
	}
	return l, nil
}

// queue holds the packets that wait for a worker. Peers take turns, and at most
// one packet of a peer is out at a time.
type queue struct {
	limits Limits
	// ready holds the peers that have a packet waiting and none out. There are
	// never more of them than packets, so sending to it does not block.
	ready chan enode.ID

	mu      sync.Mutex // guards the following fields
	peers   map[enode.ID]*peerQueue
	waiting int       // packets, of all peers
	swept   time.Time // when peers was last cleared of the idle
}

type peerQueue struct {
	bucket   *rate.Limiter
	packets  [][]byte
	busy     bool // in ready, or a packet is out
	refusing bool // a refusal waits to be sent
}

func newQueue(l Limits) *queue {
	return &queue{limits: l, ready: make(chan enode.ID, l.Queue), peers: make(map[enode.ID]*peerQueue)}
}

// offer takes a packet, or returns why it does not.
func (q *queue) offer(peer enode.ID, packet []byte, now time.Time) mailwire.Refusal {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.peers[peer]
	if p == nil {
		if q.sweep(now); len(q.peers) >= maxTracked {
			return mailwire.RefuseBusy(crowdedRetry, "too many clients")
		}
		perSecond := rate.Limit(q.limits.PeerRequests) / 60
		p = &peerQueue{bucket: rate.NewLimiter(perSecond, q.limits.PeerRequests)}
		q.peers[peer] = p
	}
	if !p.bucket.AllowN(now, 1) {
		wait := time.Duration((1 - p.bucket.TokensAt(now)) / float64(p.bucket.Limit()) * float64(time.Second))
		return mailwire.RefuseBusy(wait, "too many requests a minute from you")
	}
	if len(p.packets) >= q.limits.PeerQueue {
		return mailwire.RefuseBusy(crowdedRetry, "your earlier requests are still being answered")
	}
	if q.waiting >= q.limits.Queue {
		return mailwire.RefuseBusy(crowdedRetry, "too many requests")
	}
	p.packets = append(p.packets, packet)
	q.waiting++
	if !p.busy {
		p.busy = true
		q.ready <- peer
	}
	return ""
}

// sweep forgets the peers of whom nothing needs to be known, at most once a
// second and only if there are too many. The caller holds mu.
func (q *queue) sweep(now time.Time) {
	if len(q.peers) < maxTracked || now.Sub(q.swept) < time.Second {
		return
	}
	q.swept = now
	for id, p := range q.peers {
		if !p.busy && !p.refusing && p.bucket.TokensAt(now) >= float64(p.bucket.Burst()) {
			delete(q.peers, id)
		}
	}
}

// take waits for a packet. The peer gets no other turn before done is called. It
// returns false once the context has ended.
func (q *queue) take(ctx context.Context) (enode.ID, []byte, bool) {
	select {
	case <-ctx.Done():
		return enode.ID{}, nil, false
	case peer := <-q.ready:
		q.mu.Lock()
		defer q.mu.Unlock()
		p := q.peers[peer]
		packet := p.packets[0]
		p.packets[0] = nil
		p.packets = p.packets[1:]
		q.waiting--
		return peer, packet, true
	}
}

func (q *queue) done(peer enode.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.peers[peer]
	if p.busy = len(p.packets) > 0; p.busy {
		q.ready <- peer
	}
}

// mayRefuse tells whether a refusal may be sent to the peer now: a known peer to
// whom none is under way. It must be followed by refused.
func (q *queue) mayRefuse(peer enode.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.peers[peer]
	if p == nil || p.refusing {
		return false
	}
	p.refusing = true
	return true
}

func (q *queue) refused(peer enode.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.peers[peer].refusing = false
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}
