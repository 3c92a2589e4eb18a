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

	// Previews are the messages that the app has not said it has (Shown), oldest
	// first.
	Previews []Preview
	// Dismissed are envelopes whose notification is to be removed, for they were
	// read on another device.
	Dismissed []common.Hash
	// Unopened are envelopes of the device's topics that none of its chats can open,
	// and Copies are those of messages that the app has said it has; both only with
	// Config.Complete.
	Unopened []Unopened
	Copies   []Copy
	// Missing are envelopes that the push named and the server no longer has.
	Missing []common.Hash
	// Gap says that pushes before this one were lost; what they told of is among
	// Previews all the same.
	Gap bool
	// More says that more waits than was given at once: say that these were Shown,
	// and ask for the History.
	More bool
}

func (e *Event) has(hash common.Hash) bool {
	return slices.ContainsFunc(e.Previews, func(p Preview) bool { return p.Hash == hash })
}

func (e *Event) hasUnopened(hash common.Hash) bool {
	return slices.ContainsFunc(e.Unopened, func(u Unopened) bool { return u.Hash() == hash })
}

// Hashes are those of the previews and of what could not be opened, for Shown.
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

// Unopened is an envelope that none of the device's chats can open: of another
// conversation that has the same topic, or of one whose key comes later.
type Unopened struct{ *whisper.Envelope }

// Copy is an envelope of a message that the app has (Shown).
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

// Receive handles the body of a push as the platform delivered it: it answers a
// challenge, or fetches what the push tells of and returns the previews. What a
// platform puts around the body is taken off; FromFCM and its siblings make a body of
// what is no JSON yet. A push of others is ErrNotOurs.
//
// Nothing is taken from the app before it says that it has it. Show the previews,
// then call Shown: a message that Shown was not told of comes again when its push does,
// and after the next start of the app with the first Receive or History. With an error
// the event holds what came until then, and what is missing comes later in the same
// way.
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
	if len(d.given) > 2*maxWaiting { // another process says Shown for what is given here
		maps.DeleteFunc(d.given, func(h common.Hash, _ bool) bool { return d.state.Waiting.find(h) < 0 })
	}
	d.mu.Unlock()
	return event, errors.Join(err, d.save(ctx))
}

// open reads a body in the form that wake-ups of the registration have.
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

// messages fetches what a push tells of. Where pushes were lost, or more waits
// than fits, it asks for everything since the cursor besides: the same envelopes, and
// those that the push had no room for.
func (d *Device) messages(ctx context.Context, payload pushwire.Payload, event *Event) error {
	d.mu.Lock()
	event.Gap = payload.Seq > d.state.Seq+1
	// That something may be missing is remembered until a history has proved the
	// contrary. The lost pushes named nothing that this one does not repeat, unless it
	// has been fetched by another way.
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

// unknown leaves out what the event has already and the server was told of.
func (d *Device) unknown(hashes []common.Hash, event *Event) []common.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.known.receipts {
		return hashes // only fetching them is a receipt
	}
	return slices.DeleteFunc(slices.Clone(hashes), event.has)
}

// Fetch asks the mailserver for exactly these envelopes and returns previews of
// those that were not Shown, and the hashes it does not have. It is the receipt for the
// pushes that told of them. With an error the event holds what came until then.
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
	// The request is a receipt: what it asks for, the server names in no other push.
	// So that is kept before. What was shown is asked for again all the same, as the
	// receipt for it may have been lost.
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
		// What was not asked for is not the server's to name.
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

// leftOver is what the app was not handed in this run, and waits from before: it was
// fetched, or about to be, when the app ended or the link broke. The caller holds mu.
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

// deliver adds previews of envelopes to an event, and says which of them the app was
// not handed before in this run.
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

// take adds an envelope to an event, and says under which hash if it does. p is nil
// if it cannot be opened. The caller holds mu.
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

// ReadElsewhere tells which of these envelopes were read on another of the user's
// devices, as far as a push has said so; see Config.Complete.
func (d *Device) ReadElsewhere(hashes ...common.Hash) []common.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(hashes), func(h common.Hash) bool { return !d.state.Elsewhere.has(markOf(h)) })
}

// Shown says that the app has these messages and they need not be given to it again:
// it has shown them, or decided that it will not. The server is not asked; that they
// were read is for Seen to tell.
func (d *Device) Shown(ctx context.Context, hashes ...common.Hash) error {
	d.mu.Lock()
	for _, hash := range hashes {
		d.state.shown(hash)
		delete(d.given, hash)
	}
	d.mu.Unlock()
	return d.save(ctx)
}

// Seen tells the server that these envelopes were read on this device, or sent
// from it: nobody is woken for them any more, and notifications on the user's
// other devices disappear. They count as Shown, also if the server cannot be told.
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
