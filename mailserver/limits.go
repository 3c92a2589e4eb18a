package mailserver

import (
	"fmt"
	"time"

	"whisperpush/desk"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
)

// Defaults of Limits; those of Bytes and Scan are archive.DefaultMaxBytes
// and archive.DefaultMaxScan.
const (
	DefaultRange        = 30 * 24 * time.Hour
	DefaultRows         = mailwire.MaxLimit
	DefaultClassicRows  = 200_000
	DefaultClassicBytes = 256 << 20
	DefaultPeerRequests = 120
	DefaultPeerQueue    = 16
	DefaultSourceQueue  = 128
	DefaultQueue        = 1024
	DefaultWorkers      = 16
	DefaultTimeout      = 2 * time.Minute
	DefaultSendTimeout  = 20 * time.Second
	DefaultClockSkew    = mailwire.MaxClockSkew
)

// Limits bounds what peers can ask of a Server. A zero field means its default.
type Limits struct {
	// Range is the longest time that one page reaches back. A wider answer is
	// continued by its cursor. It does not apply to classic requests, which
	// have no cursor, nor to answers in the order of the log.
	Range time.Duration
	// Rows and Bytes bound a page: the whole answer or, for a classic request,
	// one read from the archive. Twice Workers times Bytes bounds the memory that
	// answers take, except for single envelopes that are larger.
	Rows, Bytes int
	// Scan is how many archived envelopes are examined for one page.
	Scan int
	// ClassicRows and ClassicBytes bound the whole answer to a classic request,
	// which is cut off there.
	ClassicRows, ClassicBytes int
	// PeerRequests is how many requests a peer may send a minute, and at once.
	PeerRequests int
	// PeerQueue is how many requests of one peer wait at most; one is served.
	PeerQueue int
	// SourceQueue is how many requests of one network wait at most.
	SourceQueue int
	// Queue is how many requests of all peers wait at most. When it is full, the
	// peer with the most waiting requests makes room.
	Queue int
	// Workers is how many requests are served at a time. As many again may wait
	// for peers that are slow to take their answer.
	Workers int
	// Timeout is the longest time one request is served.
	Timeout time.Duration
	// SendTimeout is the longest time a peer may take for sendBytes. When more than
	// Workers peers are slow, one of them is given up before that.
	SendTimeout time.Duration
	// ClockSkew is how far outside its life, from sent to expiry, a request is
	// still answered. Genuine mailservers do not check it at all, so it only has to
	// stop replays of old requests.
	ClockSkew time.Duration
}

const (
	// sendBytes is how much is handed to a peer at a time, and the size of a
	// batch. It is well below the smallest maximum message size in the field, 1
	// MiB. The buffers that devp2p keeps for each link grow to a few times
	// this.
	sendBytes = 64 << 10
	// hashesAtOnce is how many envelopes are read by hash at a time.
	hashesAtOnce = 8
	// maxWindows is how many periods of Limits.Range without envelopes are
	// skipped for one page.
	maxWindows = 32
	// refusalTimeout is the longest time that sending a refusal may take.
	refusalTimeout = 2 * time.Second
)

// withDefaults replaces zeros by the defaults and returns an error for values that make
// no sense.
func (l Limits) withDefaults() (Limits, error) {
	for _, f := range []struct {
		name    string
		value   *int
		instead int
	}{
		{"rows", &l.Rows, DefaultRows},
		{"bytes", &l.Bytes, archive.DefaultMaxBytes},
		{"scan", &l.Scan, archive.DefaultMaxScan},
		{"classic rows", &l.ClassicRows, DefaultClassicRows},
		{"classic bytes", &l.ClassicBytes, DefaultClassicBytes},
		{"peer requests", &l.PeerRequests, DefaultPeerRequests},
		{"peer queue", &l.PeerQueue, DefaultPeerQueue},
		{"source queue", &l.SourceQueue, max(DefaultSourceQueue, l.PeerQueue)},
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

// desk returns the limits for the desk at which requests wait and are served.
func (l Limits) desk() desk.Limits {
	return desk.Limits{
		Turns:     l.Workers,
		Lent:      l.Workers,
		PerPeer:   l.PeerQueue,
		PerSource: l.SourceQueue,
		Queue:     l.Queue,
		Rate:      float64(l.PeerRequests) / 60,
		Burst:     l.PeerRequests,
	}
}
