package group

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Receive handles the body of a push, as client.Device.Receive does.
func (d *Device) Receive(ctx context.Context, body []byte) (client.Event, error) {
	return d.through(ctx, d.rung, func() (client.Event, error) { return d.rung.Receive(ctx, body) })
}

// Fetch is client.Device.Fetch.
func (d *Device) Fetch(ctx context.Context, hashes []common.Hash) (client.Event, error) {
	return d.through(ctx, d.rung, func() (client.Event, error) { return d.rung.Fetch(ctx, hashes) })
}

// History is client.Device.History of both devices.
func (d *Device) History(ctx context.Context) (client.Event, error) {
	event, err := d.through(ctx, d.rung, func() (client.Event, error) { return d.rung.History(ctx) })
	if err != nil || d.reader == d.rung {
		return event, err
	}
	more, err := d.through(ctx, d.reader, func() (client.Event, error) { return d.reader.History(ctx) })
	join(&event, more)
	return event, err
}

// through takes over what an event says of groups, and does what follows from it.
func (d *Device) through(ctx context.Context, from Client, ask func() (client.Event, error)) (event client.Event, err error) {
	done, err := d.begin(ctx)
	if err != nil {
		return client.Event{}, err
	}
	defer done()
	event, err = ask()
	if errors.Is(err, client.ErrNotOurs) {
		return event, err
	}
	defer func() {
		join(&event, d.spare)
		d.spare = client.Event{}
	}()
	errs := []error{err}
	errs = append(errs, d.sort(ctx, from, &event))
	if err == nil {
		errs = append(errs, d.tend(ctx, &event))
	}
	return event, errors.Join(errs...)
}

func join(event *client.Event, more client.Event) {
	event.Previews = append(event.Previews, more.Previews...)
	event.Unopened = append(event.Unopened, more.Unopened...)
	event.Copies = append(event.Copies, more.Copies...)
	event.Dismissed = append(event.Dismissed, more.Dismissed...)
	event.Missing = append(event.Missing, more.Missing...)
	event.More = event.More || more.More
}

// sort removes the envelopes of groups from an event, and adds what it has to show of
// them. It takes records first, because they say who may write.
func (d *Device) sort(ctx context.Context, from Client, event *client.Event) error {
	slots := d.book.places()
	var rest []client.Preview
	var letters, messages []held
	done := map[Client][]common.Hash{}
	for _, p := range event.Previews {
		sl, found := slots[p.ChatID]
		switch {
		case !found && d.isOurs(p.ChatID): // of a past epoch
			done[from] = append(done[from], p.Hash)
		case !found:
			rest = append(rest, p)
		case sl.kind == slotLetter:
			letters = append(letters, held{p, from})
			done[from] = append(done[from], p.Hash)
		default:
			messages = append(messages, held{p, from})
		}
	}
	// An envelope on our topics that nobody of the group has sent is not worth keeping.
	topics := make(map[whisper.Topic]bool)
	for _, sl := range slots {
		topics[sl.chat.Topic] = true
	}
	var unopened []client.Unopened
	for _, u := range event.Unopened {
		if !topics[u.Topic] {
			unopened = append(unopened, u)
			continue
		}
		done[from] = append(done[from], u.Hash())
		d.ignore("an envelope cannot be opened", nil)
	}
	event.Previews, event.Unopened = rest, unopened

	var errs []error
	for _, l := range letters {
		if err := d.book.receive(ctx, slots[l.preview.ChatID], &l.preview); err != nil {
			var failed *storeError
			if errors.As(err, &failed) {
				return err // nothing was acknowledged: the device hands it over again
			}
			d.ignore("a letter is of no use", err)
		}
	}
	messages = append(d.held, messages...)
	d.held = nil
	for _, m := range messages {
		p, verdict, err := d.book.read(ctx, slots[m.preview.ChatID], &m.preview)
		switch {
		case verdict == unsure && len(d.held) < maxHeld:
			d.held = append(d.held, m)
		case verdict == shown:
			event.Previews = append(event.Previews, *p)
		default:
			if verdict != heard {
				d.ignore("a message is of no member", err)
			}
			done[m.from] = append(done[m.from], m.preview.Hash)
		}
	}
	for device, hashes := range done {
		errs = append(errs, device.Shown(ctx, hashes...))
	}
	return errors.Join(errs...)
}

func (d *Device) ignore(what string, err error) {
	d.mu.Lock()
	d.ignored++
	d.mu.Unlock()
	d.logger.Debug("group: "+what, "err", err)
}

// tend brings the devices' chats in line with the groups, asks for earlier envelopes on
// new topics, and does what an admin has to do, until nothing is left.
func (d *Device) tend(ctx context.Context, event *client.Event) error {
	for range maxRounds {
		if err := d.align(ctx); err != nil {
			return err
		}
		looks := d.book.looks()
		for _, rung := range [...]bool{true, false} {
			if err := d.look(ctx, rung, looks, event); err != nil {
				return err
			}
		}
		if event.More {
			return nil // the app has enough; the rest comes the next time
		}
		changed, err := d.duties(ctx)
		if err != nil || len(looks) == 0 && !changed {
			return err
		}
	}
	return nil
}

// align gives the devices the groups' chats beside those that they have, and tells the
// mailserver.
func (d *Device) align(ctx context.Context) error {
	return d.give(ctx, d.others())
}

// others are the device's chats that do not belong to a group.
func (d *Device) others() []client.Chat {
	return slices.DeleteFunc(d.rung.Chats(), func(c client.Chat) bool { return d.isOurs(c.ID()) })
}

func (d *Device) give(ctx context.Context, others []client.Chat) error {
	untold := d.book.untold()
	rung, reading := d.own(d.book.Chats()), d.own(d.book.Reading())
	if d.reader == d.rung {
		rung = append(rung, reading...)
	} else if err := d.reader.SetChats(ctx, reading); err != nil {
		return err
	}
	d.rung.Doubt(untold...)
	err := d.rung.SetChats(ctx, append(others, rung...))
	// Otherwise Register tells the server everything when the app registers.
	if err != nil && !client.IsRefused(err, pushwire.NotRegistered) {
		return err
	}
	if len(untold) == 0 || err != nil {
		return nil
	}
	return d.book.told(ctx, untold)
}

// look asks for what arrived on topics before a device knew of them.
func (d *Device) look(ctx context.Context, rung bool, looks []look, event *client.Event) error {
	device := d.reader
	if rung {
		device = d.rung
	}
	var topics []whisper.Topic
	var done []look
	since := int64(math.MaxInt64)
	for _, l := range looks {
		if l.Rung == rung {
			topics, done, since = append(topics, l.Topic), append(done, l), min(since, l.Since)
		}
	}
	if len(topics) == 0 || event.More {
		return nil
	}
	more, err := device.Past(ctx, time.UnixMilli(since).Add(-pastSlack), topics...)
	if err = errors.Join(err, d.sort(ctx, device, &more)); err != nil {
		return err
	}
	join(event, more)
	if more.More {
		return nil
	}
	return d.book.looked(ctx, done)
}
