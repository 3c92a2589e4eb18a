package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// historySlack is how much older than the device's first start an envelope may be
	// and still belong to its history, in seconds: the longest usual lifetime, plus the
	// clock error that a server tolerates.
	historySlack = 600
	// maxFirstHistory is how far back a first history goes at most, in seconds, because
	// the clock of a phone that was just switched on may show anything.
	maxFirstHistory = 7 * 24 * 3600
	// clockTimeout is how long a first history waits for the server's time.
	clockTimeout = 4 * time.Second
	// historyPage is how many envelopes are asked for at once.
	historyPage = 256
)

// History asks the mailserver for everything it archived for the device's chats since
// the last time, whatever the time in the envelopes, and returns previews of what was
// not Shown, oldest first. It is for the app's start, and for making up for lost
// pushes, which Receive does by itself. With an error, the event holds what arrived
// until then.
func (d *Device) History(ctx context.Context) (Event, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return Event{}, err
	}
	defer done()
	event := Event{Kind: pushwire.Messages}
	err = d.history(ctx, &event)
	return d.hand(ctx, event, err)
}

// errFull says that the app has not confirmed enough messages to be given more.
var errFull = errors.New("client: too many messages wait for Shown")

// history adds to an event what was left over from before, and what the mailserver
// archived since the cursor. The cursor moves past a page only when all of the page is
// in the state, and both are written together. So an error costs one page at most, and
// nothing is skipped.
func (d *Device) history(ctx context.Context, event *Event) error {
	d.mu.Lock()
	topics := topicsOf(d.chats)
	d.mu.Unlock()
	if len(topics) == 0 {
		return nil
	}
	if err := d.recover(ctx, event); err != nil {
		return fmt.Errorf("client: history: what was left over: %w", err)
	}
	cursor, lower, err := d.place(ctx)
	if err != nil {
		return err
	}
	request := mailclient.Since(cursor)
	request.Lower, request.Limit = lower, historyPage
	if len(topics) > mailwire.MaxTopics {
		// A cursor belongs to one query. With too many topics, the query is for
		// everything that a Bloom filter of the topics covers, which is somewhat more
		// traffic.
		bloom := new(whisper.Bloom)
		for _, t := range topics {
			bloom.Merge(t.Bloom())
		}
		request.Bloom = bloom
	} else {
		request.Topics = topics
	}
	var fresh []common.Hash
	cursor, err = d.collect(ctx, request, d.admit(event, &fresh))
	d.mu.Lock()
	d.state.Cursor = cursor.Bytes()
	switch {
	case err == nil:
		d.state.Behind = false
	case errors.Is(err, errFull):
		event.More, err = true, nil
	default:
		err = fmt.Errorf("client: history: %w", err)
	}
	active := d.state.Active
	d.mu.Unlock()
	err = errors.Join(err, d.save(ctx))
	if active {
		d.receipt(ctx, fresh, event)
	}
	return err
}

// Past asks the mailserver for what it archived since a time on topics of the device's
// chats, and returns previews of what was not Shown. It is for chats that were added
// lately, and does not change where History continues. If the event says More, confirm
// these with Shown and ask again.
func (d *Device) Past(ctx context.Context, since time.Time, topics ...whisper.Topic) (Event, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return Event{}, err
	}
	defer done()
	event := Event{Kind: pushwire.Messages}
	var fresh []common.Hash
	for part := range slices.Chunk(topics, mailwire.MaxTopics) {
		request := mailclient.Since(mailwire.Cursor{})
		request.Lower, request.Limit, request.Topics = uint32(max(since.Unix(), historySlack))-historySlack, historyPage, part
		_, err = d.collect(ctx, request, d.admit(&event, &fresh))
		if errors.Is(err, errFull) {
			event.More, err = true, nil
		}
		if err != nil {
			err = fmt.Errorf("client: past: %w", err)
			break
		}
	}
	d.mu.Lock()
	active := d.state.Active
	d.mu.Unlock()
	if active {
		d.receipt(ctx, fresh, &event)
	}
	return d.hand(ctx, event, err)
}

// admit adds pages to an event as long as there is room, and adds the new hashes in
// them to fresh.
func (d *Device) admit(event *Event, fresh *[]common.Hash) func(page []*whisper.Envelope) error {
	return func(page []*whisper.Envelope) error {
		d.mu.Lock()
		fits := d.state.fits(len(page), d.given)
		d.mu.Unlock()
		if !fits {
			return errFull
		}
		*fresh = append(*fresh, d.deliver(page, event)...)
		return nil
	}
}

// collect asks the mailserver page by page. It returns the cursor behind the last page
// that was handled.
func (d *Device) collect(ctx context.Context, request mailwire.Request, handle func([]*whisper.Envelope) error) (mailwire.Cursor, error) {
	d.mu.Lock()
	request.Prove = request.Cursor.Ascending && d.state.Ledger != nil
	d.mu.Unlock()
	err := d.persist(ctx, "history", func() (bool, error) {
		s, err := d.reach(ctx)
		if err != nil {
			return false, err
		}
		linked, cancel := s.during(ctx)
		defer cancel()
		server, err := s.mailserver(linked)
		if err != nil {
			return true, blame(ctx, linked, err)
		}
		request.Cursor, err = s.mail.CollectAnswers(linked, server, request, func(a mailclient.Answer) error {
			err := handle(a.Envelopes)
			if err == nil {
				d.answered(a)
			}
			return err
		})
		return linked.Err() != nil || !s.connected(), blame(ctx, linked, err)
	})
	return request.Cursor, err
}

// place is where the history continues: behind the cursor, or at the device's first
// start if there is no cursor that means something to the server.
func (d *Device) place(ctx context.Context) (cursor mailwire.Cursor, lower uint32, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cursor, err = mailwire.ParseCursor(d.state.Cursor); err != nil {
		return cursor, 0, fmt.Errorf("client: history cursor in the device state: %w", err)
	}
	if cursor.Log != (mailwire.LogID{}) && len(d.known.log) > 0 && !bytes.Equal(cursor.Log[:], d.known.log) {
		cursor = mailwire.Cursor{} // the server was installed again
	}
	if !cursor.IsZero() {
		return cursor, 0, nil
	}
	begin := d.state.Begin
	if begin == 0 {
		if !d.known.clock {
			d.mu.Unlock()
			d.askTime(ctx)
			d.mu.Lock()
		}
		now := time.Now().Add(d.known.offset).Unix()
		begin = uint32(max(min(int64(d.state.Since)+int64(d.known.offset/time.Second), now), now-maxFirstHistory, 0))
		if d.known.clock {
			d.state.Begin = begin
		}
	}
	return cursor, max(begin, historySlack) - historySlack, nil
}

// askTime asks for the server's time. A mailserver without push does not answer. Then
// the history begins by the device's own clock, whose error the mailserver corrects
// (mailwire.MaxClockSkew).
func (d *Device) askTime(ctx context.Context) {
	s, err := d.connect(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	d.mu.Lock()
	pow := d.known.pow
	d.mu.Unlock()
	for range 2 { // the first reply may say only that our clock is off
		reply, _, err := s.do(ctx, pushwire.NewRequest(new(pushwire.Status), d.now()), nil, pow, false)
		if err != nil || !d.again(reply) {
			return
		}
	}
}

// recover adds to an event what was left over from before. It fetches as after a push
// or, if the server no longer knows the registration, requests the envelopes as any
// mail.
func (d *Device) recover(ctx context.Context, event *Event) error {
	d.mu.Lock()
	left := d.leftOver(event)
	d.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	err := d.fetch(ctx, nil, event)
	if refusal := new(pushwire.RefusalError); !errors.As(err, &refusal) {
		return err
	}
	for part := range slices.Chunk(left, mailwire.MaxHashes) {
		_, err := d.collect(ctx, mailclient.Hashes(part...), func(page []*whisper.Envelope) error {
			d.deliver(page, event)
			return nil
		})
		if err != nil {
			return err
		}
		d.mu.Lock()
		for _, hash := range part {
			if !event.has(hash) && !event.hasUnopened(hash) { // the server does not have it any more
				d.state.Waiting.drop(hash)
			}
		}
		d.mu.Unlock()
	}
	return nil
}

// receipt tells the server what arrived by the history, so that the server no longer
// wakes the device for it. It names the newest hashes that fit into one request,
// because a server keeps no more waiting for a device. If it fails, the next push names
// them, and fetching them is the receipt. A device in a group also asks for dismissals
// that were lost, even when nothing arrived.
func (d *Device) receipt(ctx context.Context, hashes []common.Hash, event *Event) {
	d.mu.Lock()
	most, understood, grouped := d.known.fetch, d.known.receipts, d.state.Grouped
	d.mu.Unlock()
	if len(hashes) == 0 && (!grouped || event.Seq != 0) { // after a push, its fetch asks
		return
	}
	if !understood {
		if _, err := d.ask(ctx, new(pushwire.Status)); err != nil {
			return
		}
		d.mu.Lock()
		most, understood = d.known.fetch, d.known.receipts
		d.mu.Unlock()
	}
	if !understood {
		return // a server from before 2027
	}
	x, err := d.ask(ctx, &pushwire.Fetch{Received: hashes[max(0, len(hashes)-most):], Owed: d.owes()})
	if err == nil {
		err = x.reply.Error()
	}
	if err == nil {
		d.owed(x, event)
	} else {
		d.logger.Debug("the server was not told what the history delivered", "err", err)
	}
}

// topicsOf are the topics of chats, each once.
func topicsOf(chats []Chat) []whisper.Topic {
	var topics []whisper.Topic
	for i := range chats {
		if t := chats[i].Topic; !slices.Contains(topics, t) {
			topics = append(topics, t)
		}
	}
	return topics
}
