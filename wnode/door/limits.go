package door

import (
	"fmt"
	"time"
)

// Defaults of Limits.
const (
	DefaultConnections = 12_288
	DefaultRings       = 10_000
	DefaultAnswers     = 1024
)

// Limits bound what strangers can hold. A zero field means its default.
type Limits struct {
	// Connections are open TCP connections, whatever they carry; about 40 kB each with TLS.
	Connections int
	// Rings are streams that ring devices; about 20 kB each.
	Rings int
	// Answers are requests being read or answered.
	Answers int
}

const (
	// maxHeader bounds the head of a request, in bytes; a browser's largest is 2 kB. A longer
	// one is answered 431.
	maxHeader = 8 << 10
	// streamsPerConnection bounds the concurrent requests of one HTTP/2 connection: a proxy's
	// carries many devices.
	streamsPerConnection = 250
	// headerTable is the memory for header compression of one HTTP/2 connection, each way.
	headerTable = 4 << 10
	// maxPosts is how many posts are read and stored at a time. Each holds its body, up to the
	// largest envelope (Options.MaxPost).
	maxPosts = 32
	// postRate and postBurst bound the posts of one network, per second and at once.
	postRate, postBurst = 20, 100
	// maxPosters is how many networks have their rates remembered.
	maxPosters = 4096
)

// times are the time limits for strangers.
type times struct {
	// header is for the TLS handshake of a connection, and for the head of each request.
	header time.Duration
	// body is for the body of a request: 64 kB at 50 kbit/s. post is for the body of a post,
	// which is up to 1 MiB.
	body, post time.Duration
	// idle ends a connection without requests.
	idle time.Duration
	// write ends a stream whose other end does not take a frame.
	write time.Duration
	// answer is the longest time for a request, including waiting for its turn.
	answer time.Duration
	// stored is how long a post waits until it is archived.
	stored time.Duration
	// alive is how often a ring stream says that it is up: proxies end one that is silent for
	// a minute.
	alive time.Duration
	// ring ends a ring stream, so that its registration shows itself again. Streams that end
	// all at once come back all at once, so each one lives up to a tenth less.
	ring time.Duration
	// silent is after how long without data a connection is pinged, and gone how long the
	// answer may take.
	silent, gone time.Duration
}

var defaultTimes = times{
	header: 10 * time.Second, body: 12 * time.Second, post: 30 * time.Second, idle: 90 * time.Second, write: 15 * time.Second,
	answer: 4 * time.Minute, stored: 20 * time.Second, alive: 25 * time.Second, ring: time.Hour,
	silent: 30 * time.Second, gone: 15 * time.Second,
}

func (l Limits) withDefaults() (Limits, error) {
	for _, f := range []struct {
		name    string
		value   *int
		instead int
	}{
		{"connections", &l.Connections, DefaultConnections}, {"rings", &l.Rings, DefaultRings}, {"answers", &l.Answers, DefaultAnswers},
	} {
		if *f.value < 0 {
			return l, fmt.Errorf("door: limit of %s is negative: %d", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.instead
		}
	}
	return l, nil
}
