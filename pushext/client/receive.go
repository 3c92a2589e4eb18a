package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Event is what a push meant.
type Event struct {
	Kind pushwire.Kind
	Seq  uint64 // of the push

	// Previews are the messages that were not shown before, oldest first.
	Previews []Preview
	// Dismissed are envelopes whose notification is to be removed, for they were
	// read on another device.
	Dismissed []common.Hash
	// Missing are envelopes that the push named and the server no longer has.
	Missing []common.Hash
	// Gap says that pushes before this one were lost; what they told of is among
	// Previews all the same.
	Gap bool
}

// exchange is a request and what came back.
type exchange struct {
	request   pushwire.RequestBody
	reply     pushwire.Reply
	envelopes []*whisper.Envelope
}

func (x *exchange) wanted() []common.Hash {
	if fetch, ok := x.request.(*pushwire.Fetch); ok {
		return fetch.Hashes
	}
	return nil
}

// Receive handles the body of a push as the platform delivered it: it answers a
// challenge, or fetches what the push tells of and returns the previews. The
// same push twice has no effect the second time. On error the messages are not
// lost: the next push names them again, and so may this one be given again.
func (d *Device) Receive(ctx context.Context, body []byte) (Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := d.state.SealKey
	if d.state.Plain {
		key = nil
	}
	payload, err := pushwire.OpenPayload(body, key)
	if err != nil {
		return Event{}, fmt.Errorf("client: push of %d bytes: %w", len(body), err)
	}
	event := Event{Kind: payload.Kind, Seq: payload.Seq}
	switch payload.Kind {
	case pushwire.Challenge:
		return event, d.confirm(ctx, payload)
	case pushwire.Dismiss:
		event.Dismissed = payload.Hashes
		for _, hash := range payload.Hashes {
			d.state.show(hash)
		}
	case pushwire.Messages:
		event.Gap = payload.Seq > d.state.Seq+1
		err = d.messages(ctx, payload, &event)
	}
	if err != nil {
		return event, err
	}
	d.state.Seq = max(d.state.Seq, payload.Seq)
	return event, d.state.save(ctx, d.store)
}

// messages fetches what a push tells of. Where pushes were lost, or more waits
// than fits, it asks for everything since the cursor instead: the same
// envelopes, and those that the push had no room for.
func (d *Device) messages(ctx context.Context, payload pushwire.Payload, event *Event) error {
	var errs []error
	if payload.More {
		previews, err := d.history(ctx)
		event.Previews = append(event.Previews, previews...)
		errs = append(errs, err)
	}
	previews, missing, err := d.fetch(ctx, payload.Hashes)
	event.Previews = append(event.Previews, previews...)
	event.Missing = missing
	if err != nil {
		errs = append(errs, err)
	} else if event.Gap && !payload.More {
		// The lost pushes named nothing that this one does not repeat, unless
		// it has been fetched by another way; the history proves it, and
		// failing to is no harm.
		previews, err := d.history(ctx)
		event.Previews = append(event.Previews, previews...)
		if err != nil {
			d.logger.Debug("history could not be repaired, the next gap tries again", "err", err)
		}
	}
	return errors.Join(errs...)
}

// Fetch asks the mailserver for exactly these envelopes and returns previews of
// those not shown before, oldest first, and the hashes it does not have. It is
// the receipt for the pushes that told of them.
func (d *Device) Fetch(ctx context.Context, hashes []common.Hash) (previews []Preview, missing []common.Hash, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	previews, missing, err = d.fetch(ctx, hashes)
	return previews, missing, errors.Join(err, d.state.save(ctx, d.store))
}

func (d *Device) fetch(ctx context.Context, hashes []common.Hash) (previews []Preview, missing []common.Hash, err error) {
	// What was shown is asked for again all the same: the receipt may have been
	// lost, and without it the server goes on pushing.
	for wanted := slices.Clone(hashes); len(wanted) > 0; {
		part := wanted[:min(len(wanted), pushwire.MaxFetch)]
		x, err := d.ask(ctx, &pushwire.Fetch{Hashes: part})
		if err != nil {
			return previews, missing, err
		}
		if err := x.reply.Error(); err != nil {
			return previews, missing, fmt.Errorf("client: fetch: %w", err)
		}
		body, ok := x.reply.Body.(*pushwire.FetchReply)
		if !ok || len(body.Sent)+len(body.Missing) == 0 {
			return previews, missing, fmt.Errorf("client: fetch of %d envelopes: the reply names none of them", len(part))
		}
		previews = append(previews, d.show(x.envelopes)...)
		missing = append(missing, body.Missing...)
		wanted = slices.DeleteFunc(wanted, func(h common.Hash) bool {
			return slices.Contains(body.Sent, h) || slices.Contains(body.Missing, h)
		})
	}
	sortPreviews(previews)
	return previews, missing, nil
}

// show turns envelopes that were not shown before into previews.
func (d *Device) show(envelopes []*whisper.Envelope) []Preview {
	var previews []Preview
	for _, e := range envelopes {
		if p := d.preview(e); p != nil && d.state.show(e.Hash()) {
			previews = append(previews, *p)
		}
	}
	return previews
}

func sortPreviews(previews []Preview) {
	slices.SortStableFunc(previews, func(a, b Preview) int { return a.Sent.Compare(b.Sent) })
}

// Seen tells the server that these envelopes were read on this device, or sent
// from it: nobody is woken for them any more, and notifications on the user's
// other devices disappear.
func (d *Device) Seen(ctx context.Context, hashes []common.Hash) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for part := range slices.Chunk(hashes, pushwire.MaxFetch) {
		x, err := d.ask(ctx, &pushwire.Seen{Hashes: part})
		if err != nil {
			return err
		}
		if err := x.reply.Error(); err != nil {
			return fmt.Errorf("client: seen: %w", err)
		}
	}
	for _, hash := range hashes {
		d.state.show(hash)
	}
	return d.state.save(ctx, d.store)
}
