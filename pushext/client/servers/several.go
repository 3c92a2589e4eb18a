package servers

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// maxGiven bounds the messages that were given and not Shown yet. They are remembered to
// recognize the same message from another server.
const maxGiven = 4096

// Several presents the devices of one installation at one or more mailservers as one:
// package inbox takes it for its Device. Its methods may be called from any goroutine.
type Several struct {
	now func() time.Time

	mu      sync.Mutex // guards the following; never held while a device is called
	places  []*place   // the first one posts
	given   map[common.Hash]*place
	left    bool          // a server was left in this run; its last pushes may be under way
	checked chan struct{} // capacity 1: full while Check runs
}

// place is the device at one server.
type place struct {
	key    string // of the server, compressed, in hexadecimal
	device *client.Device
	watch  Watch
	probe  client.Chat // only this installation knows it
	leaves *client.Registration
	stale  bool // it was not told the latest chats
}

// ErrNowhere says that there is no device at any server.
var ErrNowhere = errors.New("servers: no mailserver was chosen")

// New returns a Several without a server.
func New() *Several {
	return &Several{now: time.Now, given: make(map[common.Hash]*place), checked: make(chan struct{}, 1)}
}

// Add adds the device at one more server after the others. pushKey is the server's, as in a
// Candidate.
func (s *Several) Add(pushKey string, d *client.Device) error {
	key, err := client.ParsePublicKey(pushKey)
	if err != nil {
		return err
	}
	p := &place{key: hex.EncodeToString(crypto.CompressPubkey(key)), device: d, probe: client.Chat{Name: "probe"}}
	secret := make([]byte, whisper.TopicSize+whisper.SymmetricKeySize)
	rand.Read(secret)
	p.probe.Topic, p.probe.Key = whisper.Topic(secret[:whisper.TopicSize]), secret[whisper.TopicSize:]
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.places, func(o *place) bool { return o.key == p.key }) {
		return errors.New("servers: there is a device at this server already")
	}
	s.places = append(s.places, p)
	return nil
}

// Servers returns the push keys of the servers. The first one is the server that posts.
func (s *Several) Servers() (keys []string) {
	for _, p := range s.all() {
		keys = append(keys, p.key)
	}
	return keys
}

func (s *Several) all() []*place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.places)
}

// Move registers with the next server. Both servers wake the device until the next one does
// so and its history was read (Receive and History see to it). Then the registration with
// the first server ends, and the next one posts. Move also works if the first server is
// dead: what arrived since its last answer is in the next one's history.
func (s *Several) Move(ctx context.Context, pushKey string, next *client.Device, r client.Registration) error {
	places := s.all()
	if len(places) == 0 {
		return ErrNowhere
	}
	former := places[0]
	if err := next.Inherit(ctx, former.device); err != nil {
		return err
	}
	if err := s.Add(pushKey, next); err != nil {
		return err
	}
	places = s.all()
	added := places[len(places)-1]
	if err := next.Register(ctx, r); err != nil {
		s.drop(added)
		return err
	}
	s.mu.Lock()
	former.leaves = &r
	s.mu.Unlock()
	return nil
}

func (s *Several) drop(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places = slices.DeleteFunc(s.places, func(o *place) bool { return o == p })
}

// settle ends a Move once the next server wakes the device, and adds what that server has
// to the event.
func (s *Several) settle(ctx context.Context, event *client.Event) error {
	places := s.all()
	s.mu.Lock()
	moving := len(places) > 1 && places[0].leaves != nil
	s.mu.Unlock()
	if !moving {
		return nil
	}
	former, next := places[0], places[len(places)-1]
	if !next.device.Active() {
		return nil
	}
	has, err := next.device.History(ctx)
	s.take(ctx, next, &has)
	join(event, has)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.places = append([]*place{next}, slices.DeleteFunc(slices.Clone(places[1:]), func(p *place) bool { return p == next })...)
	s.left = true
	s.mu.Unlock()
	// The former server's pushes in flight are in the next one's history. If the former is
	// dead, it forgets the registration when its lifetime is over.
	limited, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	_ = former.device.Unregister(limited)
	return former.device.Close()
}

// leaveTimeout is how long the request that ends the former registration may take.
const leaveTimeout = 10 * time.Second

// join adds one event to another.
func join(event *client.Event, more client.Event) {
	event.Previews = append(event.Previews, more.Previews...)
	event.Dismissed = append(event.Dismissed, more.Dismissed...)
	event.Unopened = append(event.Unopened, more.Unopened...)
	event.Copies = append(event.Copies, more.Copies...)
	event.Missing = append(event.Missing, more.Missing...)
	event.Gap = event.Gap || more.Gap
	event.More = event.More || more.More
	slices.SortStableFunc(event.Previews, func(a, b client.Preview) int { return a.Sent.Compare(b.Sent) })
}

// take removes from a server's event the probes, and messages that another server has given
// and the app has not Shown yet.
func (s *Several) take(ctx context.Context, from *place, event *client.Event) {
	probed := map[client.ChatID]*place{}
	for _, p := range s.all() {
		probed[p.probe.ID()] = p
	}
	var mine []common.Hash
	s.mu.Lock()
	event.Previews = slices.DeleteFunc(event.Previews, func(p client.Preview) bool {
		if of := probed[p.ChatID]; of != nil {
			mine = append(mine, p.Hash)
			if of == from {
				from.watch.Rang()
			}
			return true
		}
		owner, known := s.given[p.Message]
		if known && owner != from {
			event.Copies = append(event.Copies, client.Copy{Hash: p.Hash, Message: p.Message})
			return true
		}
		if len(s.given) >= maxGiven {
			clear(s.given) // each device itself knows what was Shown
		}
		s.given[p.Message] = from
		return false
	})
	s.mu.Unlock()
	if len(mine) > 0 {
		_ = from.device.Seen(ctx, mine)
	}
}

// Receive hands a push to the device that can open it. A push that a server sent before the
// device left it is a reason to ask for the history.
func (s *Several) Receive(ctx context.Context, body []byte) (client.Event, error) {
	err := ErrNowhere
	for _, p := range s.all() {
		var event client.Event
		event, err = p.device.Receive(ctx, body)
		if errors.Is(err, pushwire.ErrCannotOpen) {
			continue // it belongs to another server
		}
		s.take(ctx, p, &event)
		if err == nil {
			p.watch.Answered()
		}
		return event, errors.Join(err, s.settle(ctx, &event))
	}
	s.mu.Lock()
	left := s.left
	s.mu.Unlock()
	if left && errors.Is(err, pushwire.ErrCannotOpen) {
		return s.History(ctx)
	}
	return client.Event{}, err
}

// patience is how much longer the other servers may take once one has done what it was
// asked, and how long one may take before the next is asked.
const patience = 15 * time.Second

// each asks all servers at once, and fails only if none of them succeeds.
func (s *Several) each(ctx context.Context, do func(ctx context.Context, p *place) error) error {
	places := s.all()
	if len(places) == 0 {
		return ErrNowhere
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(places))
	var wg sync.WaitGroup
	for i, p := range places {
		wg.Go(func() {
			if errs[i] = do(ctx, p); errs[i] == nil {
				p.watch.Answered()
				time.AfterFunc(patience, cancel)
			}
		})
	}
	wg.Wait()
	if slices.Contains(errs, nil) {
		return nil
	}
	return errors.Join(errs...)
}

// first asks one server after the other, beginning with those that are fine, until one
// succeeds.
func (s *Several) first(ctx context.Context, do func(ctx context.Context, p *place) error) error {
	places := s.all()
	if len(places) == 0 {
		return ErrNowhere
	}
	now := s.now()
	slices.SortStableFunc(places, func(a, b *place) int { return int(a.watch.Verdict(now)) - int(b.watch.Verdict(now)) })
	var errs []error
	for i, p := range places {
		limited, cancel := ctx, context.CancelFunc(func() {})
		if i < len(places)-1 {
			limited, cancel = context.WithTimeout(ctx, patience)
		}
		err := do(limited, p)
		cancel()
		if err == nil {
			p.watch.Answered()
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// History asks all servers, and fails if none answers.
func (s *Several) History(ctx context.Context) (client.Event, error) {
	event := client.Event{Kind: pushwire.Messages}
	var mu sync.Mutex
	err := s.each(ctx, func(ctx context.Context, p *place) error {
		has, err := p.device.History(ctx)
		mu.Lock()
		defer mu.Unlock()
		s.take(ctx, p, &has)
		join(&event, has)
		return err
	})
	return event, errors.Join(err, s.settle(ctx, &event))
}

// Fetch asks one server after the other for what is missing.
func (s *Several) Fetch(ctx context.Context, hashes []common.Hash) (client.Event, error) {
	event := client.Event{Kind: pushwire.Messages}
	err := s.first(ctx, func(ctx context.Context, p *place) error {
		has, err := p.device.Fetch(ctx, hashes)
		s.take(ctx, p, &has)
		hashes, has.Missing = has.Missing, nil
		join(&event, has)
		if err == nil && len(hashes) > 0 {
			return errMissing
		}
		return err
	})
	if errors.Is(err, errMissing) {
		event.Missing, err = hashes, nil
	}
	return event, err
}

var errMissing = errors.New("servers: not all was there")

// Shown tells all devices, so that none of them gives these messages again.
func (s *Several) Shown(ctx context.Context, hashes ...common.Hash) error {
	places := s.all()
	for _, p := range places {
		if err := p.device.Shown(ctx, hashes...); err != nil {
			return err
		}
	}
	for _, p := range places {
		for _, other := range places {
			if other == p {
				continue
			}
			if err := p.device.Inherit(ctx, other.device); err != nil {
				return err
			}
		}
	}
	return nil
}

// Seen tells all servers, and fails if it reaches none.
func (s *Several) Seen(ctx context.Context, hashes []common.Hash) error {
	return s.each(ctx, func(ctx context.Context, p *place) error { return p.device.Seen(ctx, hashes) })
}

// Post posts through the first server that accepts the message. It tells the others, as far
// as they answer, that this device need not be woken for it.
func (s *Several) Post(ctx context.Context, sealed *whisper.Envelope, wake bool) (hash common.Hash, err error) {
	var by *place
	err = s.first(ctx, func(ctx context.Context, p *place) error {
		by = p
		hash, err = p.device.Post(ctx, sealed, wake)
		return err
	})
	if err != nil {
		return hash, err
	}
	for _, p := range s.all() {
		if p == by || !p.device.Active() || p.watch.Verdict(s.now()) != Fine {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		_ = p.device.Seen(limited, []common.Hash{hash}) // else the device is woken for a copy
		cancel()
	}
	return hash, nil
}

// ReadElsewhere returns what any of the servers has reported.
func (s *Several) ReadElsewhere(hashes ...common.Hash) (read []common.Hash) {
	for _, p := range s.all() {
		for _, hash := range p.device.ReadElsewhere(hashes...) {
			if !slices.Contains(read, hash) {
				read = append(read, hash)
			}
		}
	}
	return read
}

// Chats returns the app's chats.
func (s *Several) Chats() []client.Chat {
	places := s.all()
	if len(places) == 0 {
		return nil
	}
	return places[0].chats()
}

// chats returns the app's chats at a server.
func (p *place) chats() []client.Chat {
	probe := p.probe.ID()
	return slices.DeleteFunc(p.device.Chats(), func(c client.Chat) bool { return c.ID() == probe })
}

// SetChats tells all servers, and fails if it reaches none. Check tells those that it did
// not reach.
func (s *Several) SetChats(ctx context.Context, chats []client.Chat) error {
	return s.each(ctx, func(ctx context.Context, p *place) error {
		err := p.device.SetChats(ctx, append(slices.Clone(chats), p.probe))
		s.mu.Lock()
		p.stale = err != nil
		s.mu.Unlock()
		return err
	})
}

// Doubt tells all devices.
func (s *Several) Doubt(topics ...whisper.Topic) {
	for _, p := range s.all() {
		p.device.Doubt(topics...)
	}
}

// Finding is what Check found about a server.
type Finding struct {
	PushKey   string
	RoundTrip time.Duration // 0: no answer
	Verdict   Verdict
	// Evidence proves to everybody that the server withheld a wake-up
	// (client.Device.Evidence). nil: there is none, which proves nothing.
	Evidence *evidence.Evidence
	// Unproved is how often the server's ledger ended before that could be proved
	// (client.Device.Unproved). A large number is a reason for doubt, but not for an
	// accusation.
	Unproved int
}

// Check asks each server for a sign of life, and sends a message to the network through one
// server for which the next one should wake this device: an additional envelope and push.
// Call it at the app's start, and every few minutes while it runs. Three checks in a row
// without an answer, over at least three minutes, make a server dead. Two messages in a row
// that do not arrive make it one that withholds. If no server answers, the network may be
// down, and nothing counts against them unless online says that the network is up. With
// only one server, Check sends no message, because the server would know that it is from
// this device. What such a server signed convicts it, once a History has brought what it
// did not ring for.
func (s *Several) Check(ctx context.Context, online bool) ([]Finding, error) {
	select {
	case s.checked <- struct{}{}:
		defer func() { <-s.checked }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	places := s.all()
	if len(places) == 0 {
		return nil, ErrNowhere
	}
	found := make([]Finding, len(places))
	var wg sync.WaitGroup
	for i, p := range places {
		wg.Go(func() {
			limited, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			trip, err := ask(limited, p.device)
			if err != nil {
				trip = 0
			}
			found[i] = Finding{PushKey: p.key, RoundTrip: trip}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	now := s.now()
	online = online || slices.ContainsFunc(found, func(f Finding) bool { return f.RoundTrip > 0 })
	var errs []error
	for i, p := range places {
		switch {
		case found[i].RoundTrip > 0:
			p.watch.Answered()
			errs = append(errs, s.renew(ctx, p))
		case online:
			p.watch.Silent(now)
		}
		if by := (i + 1) % len(places); by != i && found[i].RoundTrip > 0 && found[by].RoundTrip > 0 {
			errs = append(errs, s.probe(ctx, p, places[by], now))
		}
		found[i].Unproved = p.device.Unproved()
		if found[i].Evidence = p.device.Evidence(); found[i].Evidence != nil {
			p.watch.Proved()
		}
		found[i].Verdict = p.watch.Verdict(now)
	}
	return found, errors.Join(errs...)
}

// askTimeout is how long a server may take to answer Check.
const askTimeout = 15 * time.Second

// renew tells a server the probe, and chats that it was not told of when they changed.
func (s *Several) renew(ctx context.Context, p *place) error {
	s.mu.Lock()
	stale, chats := p.stale, s.places[0]
	s.mu.Unlock()
	probe := p.probe.ID()
	has := slices.ContainsFunc(p.device.Chats(), func(c client.Chat) bool { return c.ID() == probe })
	if !p.device.Active() || has && !stale {
		return nil
	}
	err := p.device.SetChats(ctx, append(chats.chats(), p.probe))
	s.mu.Lock()
	defer s.mu.Unlock()
	p.stale = err != nil
	return err
}

// probe sends a message for one place to the network through another.
func (s *Several) probe(ctx context.Context, to, by *place, now time.Time) error {
	if !to.device.Active() {
		return nil
	}
	payload := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	sealed, err := whisper.Seal(ctx, client.Compose(to.probe, payload, nil, now))
	if err != nil {
		return err
	}
	if _, err := by.device.Post(ctx, sealed, true); err != nil {
		return err
	}
	to.watch.Probed(now)
	return nil
}

// Close hangs up at all servers. The registrations stay.
func (s *Several) Close() error {
	var errs []error
	for _, p := range s.all() {
		errs = append(errs, p.device.Close())
	}
	return errors.Join(errs...)
}
