package faultproxy

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection through the proxy.
type link struct {
	proxy   *Proxy
	profile Profile
	seed    uint64
	doomed  int64 // bytes after which it is reset; 0 is never
	passed  atomic.Int64

	mu     sync.Mutex // guards the following fields
	caller net.Conn
	called net.Conn // nil until it is dialled
	ended  bool
}

// connect gives the link its other end. It returns false if the link ended before.
func (c *link) connect(called net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		called.Close()
		return false
	}
	c.called = called
	return true
}

// reset ends both connections with a TCP reset.
func (c *link) reset() { c.end(true) }

// close ends both connections.
func (c *link) close() { c.end(false) }

func (c *link) end(abruptly bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	for _, conn := range []net.Conn{c.caller, c.called} {
		if conn == nil {
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok && abruptly {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
	}
}

// piece is what was read at once, and when it arrives.
type piece struct {
	bytes  []byte
	arrive time.Time
}

// pipe carries one direction until either side closes it. Reading continues while
// earlier pieces are under way: a link holds as much as its latency and bandwidth
// imply.
func (c *link) pipe(from, to net.Conn, rate int, counter *atomic.Int64, direction uint64) {
	pieces := make(chan piece, queueSize)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(pieces)
		random := rand.New(rand.NewPCG(c.seed, direction))
		var free, last time.Time // when the link has sent all it has, and the latest arrival
		for {
			buffer := make([]byte, pieceSize)
			n, err := from.Read(buffer)
			if n > 0 {
				now := time.Now()
				if free.Before(now) {
					free = now
				}
				if rate > 0 {
					free = free.Add(time.Duration(n) * time.Second / time.Duration(rate))
				}
				arrive := free.Add(c.profile.Latency)
				if c.profile.Jitter > 0 {
					arrive = arrive.Add(time.Duration(random.Int64N(int64(c.profile.Jitter))))
				}
				if arrive.Before(last) {
					arrive = last
				}
				last = arrive
				pieces <- piece{buffer[:n], arrive}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range pieces {
		if !c.deliver(to, p, counter) {
			c.close() // ends the reader
			break
		}
	}
	for range pieces { // the reader must not block
	}
	reader.Wait()
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the other direction may go on
	}
}

// deliver waits until a piece arrives and writes it. It returns false if the link
// ended.
func (c *link) deliver(to net.Conn, p piece, counter *atomic.Int64) bool {
	if wait := time.Until(p.arrive); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.proxy.ctx.Done():
			return false
		}
	}
	select {
	case <-c.proxy.flows():
	case <-c.proxy.ctx.Done():
		return false
	}
	if passed := c.passed.Add(int64(len(p.bytes))); c.doomed > 0 && passed >= c.doomed {
		c.proxy.resets.Add(1)
		c.reset()
		return false
	}
	counter.Add(int64(len(p.bytes))) // before any reader of the bytes can go on
	n, err := to.Write(p.bytes)
	counter.Add(int64(n - len(p.bytes)))
	return err == nil
}
