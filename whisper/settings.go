package whisper

import (
	"fmt"
	"math"
	"time"
)

// settings are what a node accepts at one time. They are never changed, only replaced.
type settings struct {
	maxMessageSize uint32
	minPoW         float64
	bloom          Bloom

	// The values before the last change, and until when they are honoured: peers
	// still use them until they have heard of the change.
	formerMinPoW float64
	formerBloom  Bloom
	graceUntil   time.Time
}

// change returns the settings after edit, with the present ones as the former ones.
func (s *settings) change(now time.Time, edit func(*settings)) *settings {
	next := *s
	edit(&next)
	next.formerMinPoW, next.formerBloom = s.minPoW, s.bloom
	if now.Before(s.graceUntil) {
		next.formerMinPoW = min(next.formerMinPoW, s.formerMinPoW)
		next.formerBloom.Merge(s.formerBloom)
	}
	next.graceUntil = now.Add(settingGrace)
	return &next
}

// weighed is an envelope with its proof of work at the time it was accepted.
type weighed struct {
	*Envelope
	pow float64
}

// checkTime returns an error unless the envelope is alive at now.
func checkTime(e *Envelope, now time.Time) error {
	second := now.Unix()
	switch {
	case e.TTL > e.Expiry:
		return ErrLifetime
	case int64(e.Expiry) < second:
		return ErrExpired
	case int64(e.Sent()) > second+allowedSkew:
		return ErrFuture
	}
	return nil
}

// check returns an error unless the envelope may enter the pool. Envelopes
// posted here (own) need not be inside the bloom filter.
func (s *settings) check(e *Envelope, now time.Time, own bool) (pow float64, err error) {
	if err := checkTime(e, now); err != nil {
		return 0, err
	}
	if e.Size() > int(s.maxMessageSize) {
		return 0, ErrTooLarge
	}
	grace := now.Before(s.graceUntil)
	if !own {
		if topic := e.Topic.Bloom(); !s.bloom.Covers(topic) && !(grace && s.formerBloom.Covers(topic)) {
			return 0, ErrUnwanted
		}
	}
	pow = e.PoW(now)
	if pow < s.minPoW && !(grace && pow >= s.formerMinPoW) {
		return pow, ErrLowPoW
	}
	return pow, nil
}

// explain wraps the refusal of an envelope with the numbers behind it.
func (s *settings) explain(err error, e *Envelope, pow float64, now time.Time) error {
	switch err {
	case ErrExpired:
		return fmt.Errorf("%w: %d s ago", err, now.Unix()-int64(e.Expiry))
	case ErrFuture:
		return fmt.Errorf("%w: %d s ahead", err, int64(e.Sent())-now.Unix())
	case ErrLifetime:
		return fmt.Errorf("%w: TTL %d s, expiry %d", err, e.TTL, e.Expiry)
	case ErrTooLarge:
		return fmt.Errorf("%w: %d bytes (> %d)", err, e.Size(), s.maxMessageSize)
	case ErrLowPoW:
		return fmt.Errorf("%w: %g (< %g)", err, pow, s.minPoW)
	}
	return err
}

func checkPoW(pow float64) error {
	if math.IsNaN(pow) || math.IsInf(pow, 0) || pow < 0 {
		return fmt.Errorf("whisper: minimum proof of work %g is not a finite number of at least 0", pow)
	}
	return nil
}

func checkMaxMessageSize(size uint32) error {
	if size == 0 || size > MaxMessageSizeLimit {
		return fmt.Errorf("whisper: maximum message size %d is not between 1 and %d bytes", size, MaxMessageSizeLimit)
	}
	return nil
}

// MinPoW returns the least proof of work this node accepts.
func (n *Node) MinPoW() float64 { return n.settings.Load().minPoW }

// Bloom returns the filter of the topics this node accepts.
func (n *Node) Bloom() Bloom { return n.settings.Load().bloom }

// MaxMessageSize returns the largest Envelope.Size this node accepts, in bytes.
func (n *Node) MaxMessageSize() uint32 { return n.settings.Load().maxMessageSize }

// SetMinPoW changes the least proof of work accepted and tells the peers. An
// envelope that satisfies the previous one is still accepted for 10 s.
func (n *Node) SetMinPoW(pow float64) error {
	if err := checkPoW(pow); err != nil {
		return err
	}
	n.change(func(s *settings) { s.minPoW = pow }, tellPoW)
	return nil
}

// SetBloom changes the filter of the topics accepted and tells the peers. A topic
// inside the previous one is still accepted for 10 s.
func (n *Node) SetBloom(b Bloom) {
	n.change(func(s *settings) { s.bloom = b }, tellBloom)
}

// SetMaxMessageSize changes the largest Envelope.Size accepted, in bytes, at
// most MaxMessageSizeLimit. The protocol has no way to tell the peers.
func (n *Node) SetMaxMessageSize(size uint32) error {
	if err := checkMaxMessageSize(size); err != nil {
		return err
	}
	n.change(func(s *settings) { s.maxMessageSize = size }, 0)
	return nil
}

func (n *Node) change(edit func(*settings), tell uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settings.Store(n.settings.Load().change(time.Now(), edit))
	for _, p := range n.peers {
		p.tell(tell)
	}
}

// LightNode tells whether the node passes on only envelopes posted here.
func (n *Node) LightNode() bool { return n.light.Load() }

// SetLightNode changes what LightNode returns. Peers learn it in their next
// handshake: the protocol has no packet to tell them sooner.
func (n *Node) SetLightNode(light bool) { n.light.Store(light) }
