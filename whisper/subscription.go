package whisper

import (
	"crypto/ecdsa"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Filter says which messages a subscriber wants. Exactly one of Key and Identity
// must be given.
type Filter struct {
	Topics      []Topic           // empty: every topic
	Key         []byte            // symmetric key of 32 bytes that opens the messages
	Identity    *ecdsa.PrivateKey // private key that opens the messages
	From        *ecdsa.PublicKey  // only messages signed with this key; nil: all, unsigned ones too
	MinPoW      float64           // least proof of work; not asked of direct messages
	AllowDirect bool              // take direct messages of trusted peers too
}

// Received is a message that a subscription opened.
type Received struct {
	*Message
	Envelope *Envelope
	Direct   bool      // came by packet 127
	At       time.Time // when it arrived
}

// Subscription opens envelopes in a goroutine of its own, so that neither a
// costly key nor a slow subscriber holds up the network. When it cannot keep up,
// it drops the oldest envelopes or messages and counts them.
type Subscription struct {
	filter   Filter
	registry *subscriptions
	messages chan Received
	wake     chan struct{} // capacity 1: there are candidates
	stop     chan struct{}
	stopped  chan struct{}
	once     sync.Once
	dropped  atomic.Uint64

	mu         sync.Mutex // guards the following field
	candidates []candidate
}

// candidate is an envelope whose topic matches.
type candidate struct {
	envelope *Envelope
	direct   bool
	at       time.Time
}

// C returns the channel of messages. It is closed by Close and when the node stops.
func (s *Subscription) C() <-chan Received { return s.messages }

// Dropped returns how many envelopes and messages were dropped because the
// subscription or its reader could not keep up.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription and waits for its goroutine. It may be called more
// than once.
func (s *Subscription) Close() {
	s.once.Do(func() {
		s.registry.remove(s)
		close(s.stop)
	})
	<-s.stopped
}

func (s *Subscription) offer(c candidate) {
	s.mu.Lock()
	if len(s.candidates) >= candidateQueue {
		s.candidates[0] = candidate{}
		s.candidates = s.candidates[1:]
		s.drop()
	}
	s.candidates = append(s.candidates, c)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Subscription) drop() {
	s.dropped.Add(1)
	s.registry.undelivered()
}

func (s *Subscription) run() {
	defer close(s.stopped)
	defer close(s.messages)
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		s.mu.Lock()
		candidates := s.candidates
		s.candidates = nil
		s.mu.Unlock()
		for _, c := range candidates {
			select {
			case <-s.stop:
				return
			default:
				s.open(c)
			}
		}
	}
}

// open delivers the message of an envelope if it is for this subscription.
func (s *Subscription) open(c candidate) {
	var m *Message
	var err error
	if s.filter.Identity != nil {
		m, err = c.envelope.OpenAsymmetric(s.filter.Identity)
	} else {
		m, err = c.envelope.OpenSymmetric(s.filter.Key)
	}
	if err != nil || s.filter.From != nil && (m.Signer == nil || !s.filter.From.Equal(m.Signer)) {
		return
	}
	r := Received{Message: m, Envelope: c.envelope, Direct: c.direct, At: c.at}
	for {
		select {
		case s.messages <- r:
			return
		default:
		}
		select {
		case <-s.messages:
			s.drop()
		default:
		}
	}
}

// Subscribe delivers the messages that match f, which must not be changed
// afterwards. buffer is how many messages may wait to be read, at least 1.
func (n *Node) Subscribe(f Filter, buffer int) (*Subscription, error) {
	if (f.Key == nil) == (f.Identity == nil) {
		return nil, errors.New("whisper: a filter needs a symmetric key or an identity, and not both")
	}
	if f.Identity == nil && len(f.Key) != SymmetricKeySize {
		return nil, errors.New("whisper: the symmetric key of a filter has 32 bytes")
	}
	if err := checkPoW(f.MinPoW); err != nil {
		return nil, err
	}
	s := &Subscription{
		filter:   f,
		registry: n.subscriptions,
		messages: make(chan Received, max(buffer, 1)),
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	if !n.subscriptions.add(s) {
		return nil, ErrNotRunning
	}
	go s.run()
	return s, nil
}

// subscriptions finds the subscriptions of a topic.
type subscriptions struct {
	undelivered func()
	count       atomic.Int64

	mu      sync.RWMutex // guards the following fields
	byTopic map[Topic][]*Subscription
	all     []*Subscription // of every topic
	closed  bool
}

func newSubscriptions(undelivered func()) *subscriptions {
	return &subscriptions{undelivered: undelivered, byTopic: make(map[Topic][]*Subscription)}
}

func (r *subscriptions) any() bool { return r.count.Load() > 0 }

func (r *subscriptions) add(s *Subscription) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.count.Add(1)
	if len(s.filter.Topics) == 0 {
		r.all = append(r.all, s)
	}
	for _, t := range s.filter.Topics {
		if !slices.Contains(r.byTopic[t], s) {
			r.byTopic[t] = append(r.byTopic[t], s)
		}
	}
	return true
}

func (r *subscriptions) remove(s *Subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Add(-1)
	without := func(list []*Subscription) []*Subscription {
		return slices.DeleteFunc(list, func(o *Subscription) bool { return o == s })
	}
	r.all = without(r.all)
	for _, t := range s.filter.Topics {
		if r.byTopic[t] = without(r.byTopic[t]); len(r.byTopic[t]) == 0 {
			delete(r.byTopic, t)
		}
	}
}

// match offers an envelope to the subscriptions of its topic.
func (r *subscriptions) match(e *Envelope, pow float64, direct bool, at time.Time) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, list := range [][]*Subscription{r.byTopic[e.Topic], r.all} {
		for _, s := range list {
			if direct && s.filter.AllowDirect || !direct && pow >= s.filter.MinPoW {
				s.offer(candidate{e, direct, at})
			}
		}
	}
}

// close ends every subscription and refuses new ones.
func (r *subscriptions) close() {
	r.mu.Lock()
	r.closed = true
	open := slices.Clone(r.all)
	for _, list := range r.byTopic {
		open = append(open, list...)
	}
	r.mu.Unlock()
	for _, s := range open {
		s.Close()
	}
}
