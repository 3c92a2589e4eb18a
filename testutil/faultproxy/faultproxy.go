// Package faultproxy puts a bad network between two parties: a TCP proxy on the
// loopback that delays, slows, resets and swallows, and counts what passes
// through.
//
// The flow: Listen opens a port that leads to a target. Each accepted connection
// is two pipes, one for each direction, which pass bytes on when the link's
// latency and bandwidth allow. The faults are drawn from a seed, so a run that
// failed can be repeated.
//
// Bandwidth is that of a connection, not of the proxy: every device has a radio of
// its own.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Profile is what a network does to a connection.
type Profile struct {
	Name    string
	Latency time.Duration // one way
	Jitter  time.Duration // extra latency, up to this much, drawn for each piece; order is kept
	Down    int           // bytes a second from the target to the caller; 0 is no limit
	Up      int           // bytes a second from the caller to the target; 0 is no limit

	// Reset is the chance that a connection is reset, after a number of bytes
	// drawn from 1 to ResetWithin.
	Reset       float64
	ResetWithin int // bytes, both directions together; 0 is 4096
}

// Networks that phones are on: figures of usual links, not of the best.
var (
	WiFi   = Profile{Name: "Wi-Fi", Latency: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Down: 4 << 20, Up: 2 << 20}
	Mobile = Profile{Name: "4G", Latency: 30 * time.Millisecond, Jitter: 20 * time.Millisecond, Down: 1 << 20, Up: 512 << 10}
	Edge   = Profile{Name: "2G", Latency: 250 * time.Millisecond, Jitter: 100 * time.Millisecond, Down: 24 << 10, Up: 12 << 10}
)

const (
	// pieceSize bounds what is read at once. With queueSize it bounds what one
	// direction of a connection holds: beyond that the sender waits, as with TCP.
	pieceSize = 4 << 10
	queueSize = 64

	dialTimeout = 5 * time.Second
)

// Proxy is a listener and its connections. Its methods are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup

	up, down atomic.Int64
	accepted atomic.Int64
	resets   atomic.Int64

	mu      sync.Mutex // guards the following fields
	target  string
	profile Profile
	random  *rand.Rand
	broken  bool
	black   chan struct{} // closed when bytes flow
	conns   map[*link]struct{}
}

// Listen opens a port on 127.0.0.1 that leads to target, host:port.
func Listen(target string, profile Profile, seed uint64) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	flows := make(chan struct{})
	close(flows)
	p := &Proxy{
		listener: l, target: target, profile: profile, random: rand.New(rand.NewPCG(seed, 0)),
		black: flows, conns: make(map[*link]struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.done.Go(p.accept)
	return p, nil
}

// Addr is the proxy's address, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Bytes returns the bytes that were passed on: from callers to the target, and
// back.
func (p *Proxy) Bytes() (up, down int64) { return p.up.Load(), p.down.Load() }

// Accepted counts the accepted connections.
func (p *Proxy) Accepted() int64 { return p.accepted.Load() }

// Resets counts the connections that the profile reset.
func (p *Proxy) Resets() int64 { return p.resets.Load() }

// SetTarget leads new connections elsewhere.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// SetProfile sets the profile of new connections.
func (p *Proxy) SetProfile(profile Profile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.profile = profile
}

// Break resets every connection, and new ones as soon as they are made, until
// Mend.
func (p *Proxy) Break() {
	p.mu.Lock()
	p.broken = true
	p.mu.Unlock()
	p.ResetAll()
}

// BlackHole passes nothing on, without any error, until Mend. New connections are
// accepted, as by a network that drops everything after its first hop.
func (p *Proxy) BlackHole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.black:
		p.black = make(chan struct{})
	default:
	}
}

// Mend ends Break and BlackHole; what the black hole held is delivered.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = false
	select {
	case <-p.black:
	default:
		close(p.black)
	}
}

// ResetAll resets every open connection once.
func (p *Proxy) ResetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
	}
}

// Close stops listening, breaks all connections and waits for their goroutines.
func (p *Proxy) Close() {
	p.cancel()
	p.listener.Close()
	p.ResetAll()
	p.done.Wait()
}

// flows returns a channel that is closed while there is no black hole.
func (p *Proxy) flows() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.black
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select { // out of file descriptors, perhaps; do not retry at once
			case <-time.After(10 * time.Millisecond):
				continue
			case <-p.ctx.Done():
				return
			}
		}
		p.accepted.Add(1)
		p.done.Go(func() { p.serve(conn) })
	}
}

// serve carries one connection.
func (p *Proxy) serve(caller net.Conn) {
	c := &link{caller: caller, proxy: p}
	p.mu.Lock()
	target, broken := p.target, p.broken
	c.profile = p.profile
	c.seed = p.random.Uint64()
	if c.profile.Reset > 0 && p.random.Float64() < c.profile.Reset {
		within := c.profile.ResetWithin
		if within <= 0 {
			within = 4096
		}
		c.doomed = 1 + p.random.Int64N(int64(within))
	}
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	defer func() {
		c.close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	if broken || p.ctx.Err() != nil {
		c.reset()
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	called, err := dialer.DialContext(p.ctx, "tcp", target)
	if err != nil {
		c.reset()
		return
	}
	if !c.connect(called) {
		return
	}
	var pipes sync.WaitGroup
	pipes.Go(func() { c.pipe(called, caller, c.profile.Down, &p.down, 1) })
	pipes.Go(func() { c.pipe(caller, called, c.profile.Up, &p.up, 2) })
	pipes.Wait()
}
