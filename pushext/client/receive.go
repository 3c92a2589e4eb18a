package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Event is what a push meant, or what was found without one.
type Event struct {
	Kind pushwire.Kind
	Seq  uint64 // of the push

	// Previews are the messages that the app has not confirmed with Shown, oldest
	// first.
	Previews []Preview
	// Dismissed are envelopes whose notification is to be removed, because they were
	// read on another device.
	Dismissed []common.Hash
	// Unopened are envelopes of the device's topics that none of its chats can open.
	// Copies are envelopes of messages that the app has confirmed or that wait under
	// another hash. Both are set only with Config.Complete.
	Unopened []Unopened
	Copies   []Copy
	// Missing are envelopes that the push named but the server no longer has.
	Missing []common.Hash
	// Gap says that pushes before this one were lost. What they announced is among
	// Previews all the same.
	Gap bool
	// More says that more waits than was given at once: confirm these with Shown,
	// and call History.
	More bool
}

func (e *Event) has(hash common.Hash) bool {
	return slices.ContainsFunc(e.Previews, func(p Preview) bool { return p.Hash == hash })
}

func (e *Event) hasUnopened(hash common.Hash) bool {
	return slices.ContainsFunc(e.Unopened, func(u Unopened) bool { return u.Hash() == hash })
}

// Hashes are the hashes of the previews and of the unopened envelopes, for Shown.
func (e *Event) Hashes() []common.Hash {
	hashes := make([]common.Hash, 0, len(e.Previews)+len(e.Unopened))
	for i := range e.Previews {
		hashes = append(hashes, e.Previews[i].Hash)
	}
	for _, u := range e.Unopened {
		hashes = append(hashes, u.Hash())
	}
	return hashes
}

// Unopened is an envelope that none of the device's chats can open: it belongs to
// another conversation on the same topic, or to one whose key comes later.
type Unopened struct{ *whisper.Envelope }

// Copy is another envelope of a message that the app has or that waits for Shown.
type Copy struct {
	Hash    common.Hash // of the envelope
	Message common.Hash // as Preview.Message
}

func (x *exchange) wanted() []common.Hash {
	if fetch, ok := x.request.(*pushwire.Fetch); ok {
		return fetch.Hashes
	}
	return nil
}

// Receive handles the body of a push as the platform delivered it. It answers a
// challenge, or fetches what the push names and returns the previews. It removes
// what a platform wraps around the body; FromFCM and its siblings make a body of
// what is not JSON yet. A push of another sender is ErrNotOurs.
//
// The device gives up nothing before the app confirms that it has it. Show the
// previews, then call Shown. A message that was not confirmed with Shown comes again
// when its push does, and with the first Receive or History after the next start of
// the app. With an error, the event holds what arrived until then, and what is
// missing comes later in the same way.
func (d *Device) Receive(ctx context.Context, body []byte) (Event, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return Event{}, err
	}
	defer done()
	payload, err := d.open(body)
	if errors.Is(err, ErrNotOurs) {
		return Event{}, err
	}
	if err != nil {
		return Event{}, fmt.Errorf("client: push of %d bytes: %w", len(body), err)
	}
	event := Event{Kind: payload.Kind, Seq: payload.Seq}
	switch payload.Kind {
	case pushwire.Challenge:
		return event, d.confirm(ctx, payload)
	case pushwire.Dismiss:
		d.dismiss(payload.Hashes, &event)
		return event, d.save(ctx)
	case pushwire.Messages:
		err := d.messages(ctx, payload, &event)
		return d.hand(ctx, event, err)
	}
	return event, nil
}

// hand returns an event to the app.
func (d *Device) hand(ctx context.Context, event Event, err error) (Event, error) {
	slices.SortStableFunc(event.Previews, func(a, b Preview) int { return a.Sent.Compare(b.Sent) })
	d.mu.Lock()
	for i := range event.Previews {
		d.given[event.Previews[i].Hash] = true
	}
	for _, u := range event.Unopened {
		d.given[u.Hash()] = true
	}
	if len(d.given) > 2*maxWaiting { // another process may call Shown for what is given here
		maps.DeleteFunc(d.given, func(h common.Hash, _ bool) bool { return d.state.Waiting.find(h) < 0 })
	}
	d.mu.Unlock()
	return event, errors.Join(err, d.save(ctx))
}

// open reads a body in the form that the registration's wake-ups have.
func (d *Device) open(body []byte) (pushwire.Payload, error) {
	body, err := unwrap(body)
	if err != nil {
		return pushwire.Payload{}, err
	}
	d.mu.Lock()
	key, plain, asked := d.state.SealKey, d.state.Plain, d.state.Asked
	d.mu.Unlock()
	var refused error
	if !plain || asked == sealedForm {
		payload, err := pushwire.OpenPayload(body, key)
		if err == nil {
			return payload, nil
		}
		refused = err
	}
	if plain || asked == plainForm {
		payload, err := pushwire.OpenPayload(body, nil)
		if err == nil {
			return payload, nil
		}
		refused = err
	}
	return pushwire.Payload{}, refused
}

// messages fetches what a push names. Where pushes were lost, or more waits than
// fits into a push, it also asks for everything since the cursor: the same
// envelopes, and those that the push had no room for.
func (d *Device) messages(ctx context.Context, payload pushwire.Payload, event *Event) error {
	d.mu.Lock()
	event.Gap = payload.Seq > d.state.Seq+1
	// The state remembers that something may be missing until a history has proved
	// the contrary. The lost pushes named nothing that this one does not repeat,
	// except envelopes that were fetched some other way.
	d.state.Behind = d.state.Behind || event.Gap || payload.More
	behind := d.state.Behind
	d.mu.Unlock()

	var errs []error
	hashes := payload.Hashes
	if payload.More {
		errs = append(errs, d.history(ctx, event))
		hashes = d.unknown(hashes, event)
	}
	err := d.fetch(ctx, hashes, event)
	if err == nil {
		d.mu.Lock()
		d.state.Seq = max(d.state.Seq, payload.Seq)
		d.mu.Unlock()
	}
	errs = append(errs, err)
	if err == nil && behind && !payload.More {
		if err := d.history(ctx, event); err != nil {
			d.logger.Debug("history could not be repaired, the next push tries again", "err", err)
		}
	}
	return errors.Join(errs...)
}

// unknown leaves out what the event already has and the server was told of.
func (d *Device) unknown(hashes []common.Hash, event *Event) []common.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.known.receipts {
		return hashes // only fetching them is a receipt
	}
	return slices.DeleteFunc(slices.Clone(hashes), event.has)
}

// Fetch asks the mailserver for exactly these envelopes. It returns previews of
// those that were not Shown, and the hashes that the mailserver does not have. It is
// the receipt for the pushes that named them. With an error, the event holds what
// arrived until then.
func (d *Device) Fetch(ctx context.Context, hashes []common.Hash) (Event, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return Event{}, err
	}
	defer done()
	event := Event{Kind: pushwire.Messages}
	err = d.fetch(ctx, hashes, &event)
	return d.hand(ctx, event, err)
}

// fetch adds to an event what the server has under these hashes, and what was left
// over from before.
func (d *Device) fetch(ctx context.Context, hashes []common.Hash, event *Event) error {
	// The request is a receipt: the server names what it asks for in no other push.
	// So the hashes are saved first. Envelopes that were shown are requested all the
	// same, because the receipt for them may have been lost.
	d.mu.Lock()
	wanted := unique(slices.Concat(hashes, d.leftOver(event)))
	if left := d.state.await(wanted, d.given); len(left) > 0 {
		wanted = slices.DeleteFunc(wanted, func(h common.Hash) bool { return slices.Contains(left, h) })
		d.state.Behind, event.More = true, true
	}
	most := d.known.fetch
	d.mu.Unlock()
	if len(wanted) == 0 {
		return nil
	}
	if err := d.save(ctx); err != nil {
		return err
	}
	for len(wanted) > 0 {
		request := &pushwire.Fetch{Hashes: wanted[:min(len(wanted), most)], Owed: d.owes()}
		x, err := d.ask(ctx, request)
		if err != nil {
			return err
		}
		if err := x.reply.Error(); err != nil {
			return fmt.Errorf("client: fetch: %w", err)
		}
		body, ok := x.reply.Body.(*pushwire.FetchReply)
		d.deliver(x.envelopes, event)
		d.owed(x, event)
		if !ok {
			return fmt.Errorf("client: fetch of %d envelopes: the reply is of another kind", len(request.Hashes))
		}
		// The server may name only what was requested.
		foreign := func(h common.Hash) bool { return !slices.Contains(request.Hashes, h) }
		body.Sent, body.Missing = slices.DeleteFunc(body.Sent, foreign), slices.DeleteFunc(body.Missing, foreign)
		if len(body.Sent)+len(body.Missing) == 0 {
			return fmt.Errorf("client: fetch of %d envelopes: the reply names none of them", len(request.Hashes))
		}
		d.mu.Lock()
		for _, hash := range body.Missing {
			d.state.Waiting.drop(hash)
		}
		d.mu.Unlock()
		event.Missing = append(event.Missing, body.Missing...)
		wanted = slices.DeleteFunc(wanted, func(h common.Hash) bool {
			return slices.Contains(body.Sent, h) || slices.Contains(body.Missing, h)
		})
	}
	return nil
}

// leftOver is what waits from before and was not handed to the app in this run: it
// was fetched, or about to be, when the app ended or the link broke. The caller
// holds mu.
func (d *Device) leftOver(event *Event) []common.Hash {
	var hashes []common.Hash
	for _, w := range d.state.Waiting {
		if !d.given[w.Hash] && !event.has(w.Hash) && !event.hasUnopened(w.Hash) {
			hashes = append(hashes, w.Hash)
		}
	}
	return hashes
}

func unique(hashes []common.Hash) []common.Hash {
	seen := make(map[common.Hash]bool, len(hashes))
	return slices.DeleteFunc(hashes, func(h common.Hash) bool {
		before := seen[h]
		seen[h] = true
		return before
	})
}

// deliver adds previews of envelopes to an event, and returns the hashes of those
// that the app was not handed before in this run.
func (d *Device) deliver(envelopes []*whisper.Envelope, event *Event) (fresh []common.Hash) {
	d.mu.Lock()
	chats := d.chats
	d.mu.Unlock()
	for _, e := range envelopes {
		p := preview(chats, e)
		d.mu.Lock()
		if hash, ok := d.take(e, p, event); ok && !d.given[hash] {
			fresh = append(fresh, hash)
		}
		d.mu.Unlock()
	}
	return fresh
}

// take adds an envelope to an event, and returns the hash under which it did so. p
// is nil if the envelope cannot be opened. The caller holds mu.
func (d *Device) take(e *whisper.Envelope, p *Preview, event *Event) (common.Hash, bool) {
	if p == nil && !d.complete {
		d.state.Waiting.drop(e.Hash())
		return common.Hash{}, false
	}
	hash, ok := d.state.arrived(e.Hash(), e.Message())
	if d.complete && p != nil && (!ok || hash != e.Hash()) {
		event.Copies = append(event.Copies, Copy{Hash: e.Hash(), Message: e.Message()})
	}
	switch {
	case !ok || event.has(hash) || event.hasUnopened(hash):
		return common.Hash{}, false
	case p == nil && hash != e.Hash(): // a copy of one that waits already
		return common.Hash{}, false
	case p == nil:
		event.Unopened = append(event.Unopened, Unopened{e})
	default:
		p.Hash = hash
		p.Read = d.state.Elsewhere.has(markOf(hash)) || d.state.Elsewhere.has(markOf(e.Hash()))
		event.Previews = append(event.Previews, *p)
	}
	return hash, true
}

// ReadElsewhere returns those of these envelopes that were read on another of the
// user's devices, as far as a push or a reply has said so; see Config.Complete.
func (d *Device) ReadElsewhere(hashes ...common.Hash) []common.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(hashes), func(h common.Hash) bool { return !d.state.Elsewhere.has(markOf(h)) })
}

// Shown says that the app has these messages and need not be given them again: it
// has shown them, or decided not to. The server is not asked; use Seen to say that
// they were read.
func (d *Device) Shown(ctx context.Context, hashes ...common.Hash) error {
	d.mu.Lock()
	for _, hash := range hashes {
		d.state.shown(hash)
		delete(d.given, hash)
	}
	d.mu.Unlock()
	return d.save(ctx)
}

// Seen tells the server that these envelopes were read on this device, or sent from
// it. Nobody is woken for them any more, and notifications on the user's other
// devices disappear. They count as Shown even if the server cannot be told.
func (d *Device) Seen(ctx context.Context, hashes []common.Hash) error {
	if err := d.Shown(ctx, hashes...); err != nil {
		return err
	}
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	d.mu.Lock()
	most := d.known.fetch
	d.mu.Unlock()
	for part := range slices.Chunk(hashes, most) {
		x, err := d.ask(ctx, &pushwire.Seen{Hashes: part})
		if err != nil {
			return err
		}
		if err := x.reply.Error(); err != nil {
			return fmt.Errorf("client: seen: %w", err)
		}
	}
	return d.save(ctx)
}
