package door

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"whisperpush/whisper"
)

// Kinds of frames: the codes of the packets with the same content.
const (
	frameNothing  = 0
	frameComplete = 125
	frameEnvelope = 127
)

var errGone = errors.New("door: the other end is gone")

// Caller is one request that came through the door, and the stream of its answer. It implements the
// callers of mail and push. Their goroutines write to the stream while that of the HTTP server
// waits.
type Caller struct {
	id     [32]byte
	source whisper.Source
	stays  bool   // the stream goes on after the answer
	prove  func() // marks its seats as proven

	patience time.Duration // how long the other end may take for each frame
	control  *http.ResponseController
	end      context.CancelFunc // wakes the handler
	answered chan struct{}
	once     sync.Once // closes answered
	granted  atomic.Bool
	over     atomic.Bool

	mu sync.Mutex // held while something is written
	w  http.ResponseWriter
}

// ID names the connection of the request; a ring stream has a name of its own.
func (c *Caller) ID() [32]byte { return c.id }

// Source is the network that the request came from.
func (c *Caller) Source() whisper.Source { return c.source }

// Up reports whether the stream can be written to.
func (c *Caller) Up() bool { return !c.over.Load() }

// Stays reports whether rings may follow the answer.
func (c *Caller) Stays() bool { return c.stays }

// Useful notes that the request was granted.
func (c *Caller) Useful() { c.granted.Store(true) }

// Proved notes that the request belongs to a registration that proved an address.
func (c *Caller) Proved() {
	c.granted.Store(true)
	c.prove()
}

// Answered notes that the answer is complete.
func (c *Caller) Answered() { c.once.Do(func() { close(c.answered) }) }

// Send writes envelopes, one per frame, and returns when the connection has taken them.
func (c *Caller) Send(ctx context.Context, envs ...*whisper.Envelope) error {
	frames := make([]frame, len(envs))
	for i, e := range envs {
		frames[i] = frame{frameEnvelope, e.Raw()}
	}
	return c.write(ctx, frames...)
}

// SendBatch does the same as Send: lists save packets, and there are no packets here.
func (c *Caller) SendBatch(ctx context.Context, envs []*whisper.Envelope) error {
	return c.Send(ctx, envs...)
}

// Complete writes the end mark of an answer to a request for mail.
func (c *Caller) Complete(ctx context.Context, mark []byte) error {
	return c.write(ctx, frame{frameComplete, mark})
}

type frame struct {
	kind byte
	body []byte
}

// write writes frames until ctx ends, or the other end takes longer than patience for one. After an
// error the stream is unusable, and ends.
func (c *Caller) write(ctx context.Context, frames ...frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Load() {
		return errGone
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		c.control.SetWriteDeadline(past)
	})
	err := ctx.Err()
	for _, f := range frames {
		if err != nil {
			break
		}
		err = c.writeFrame(ctx, f)
	}
	if !stop() {
		<-cut // nothing touches the stream after this
		err = errors.Join(err, ctx.Err())
	}
	if err == nil {
		err = c.control.SetWriteDeadline(time.Time{}) // an expired write deadline would end a quiet HTTP/2 stream
	}
	if err != nil {
		c.over.Store(true)
		c.end()
	}
	return err
}

func (c *Caller) writeFrame(ctx context.Context, f frame) error {
	if err := c.control.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return err
	}
	if ctx.Err() != nil || c.over.Load() { // its deadline was set earlier, and was overwritten
		return errGone
	}
	head := [5]byte{f.kind}
	binary.BigEndian.PutUint32(head[1:], uint32(len(f.body)))
	if _, err := c.w.Write(head[:]); err != nil {
		return err
	}
	if _, err := c.w.Write(f.body); err != nil {
		return err
	}
	return c.control.Flush()
}

// past is an expired deadline.
var past = time.Unix(1, 0)

// close stops all further writing, and returns when no write is under way.
func (c *Caller) close() {
	if c.over.CompareAndSwap(false, true) {
		if !c.mu.TryLock() { // a write is under way, and must not wait for the other end
			c.control.SetWriteDeadline(past)
			c.mu.Lock()
		}
		c.mu.Unlock()
		return
	}
	c.mu.Lock()
	c.mu.Unlock()
}
