package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// historySlack is how much older than the device's first start an envelope may
// be and still belong to its history, in seconds: the longest usual lifetime.
const historySlack = 300

// History asks the mailserver for everything it archived for the device's chats
// since the last time, whatever time it claims to be from, and returns previews
// of what was not shown before, oldest first. It is for the app's start, and for
// repairing lost pushes, which Receive does by itself.
func (d *Device) History(ctx context.Context) ([]Preview, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.history(ctx)
}

// history moves the cursor behind every page it has handled, so that an error
// costs a page at most.
func (d *Device) history(ctx context.Context) ([]Preview, error) {
	if len(d.chats) == 0 {
		return nil, nil
	}
	s, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	cursor, err := mailwire.ParseCursor(d.state.Cursor)
	if err != nil {
		return nil, fmt.Errorf("client: history cursor in the device state: %w", err)
	}
	request := mailclient.Since(cursor)
	if cursor.IsZero() {
		request.Lower = max(d.state.Since, historySlack) - historySlack
	}
	topics := d.topics()
	if len(topics) > mailwire.MaxTopics {
		// One cursor serves one question: then it is for whatever the filter of
		// the topics covers, which is some traffic more.
		bloom := new(whisper.Bloom)
		for _, t := range topics {
			bloom.Merge(t.Bloom())
		}
		request.Bloom = bloom
	} else {
		request.Topics = topics
	}
	var previews []Preview
	linked, cancel := s.during(ctx)
	defer cancel()
	cursor, err = s.mail.Collect(linked, s.mailserver(), request, func(page []*whisper.Envelope) error {
		previews = append(previews, d.show(page)...)
		return nil
	})
	d.state.Cursor = cursor.Bytes()
	sortPreviews(previews)
	if err != nil {
		err = fmt.Errorf("client: history: %w", err)
	}
	return previews, errors.Join(err, d.state.save(ctx, d.store))
}

// topics are those of the chats, each once.
func (d *Device) topics() []whisper.Topic {
	var topics []whisper.Topic
	for i := range d.chats {
		if t := d.chats[i].Topic; !slices.Contains(topics, t) {
			topics = append(topics, t)
		}
	}
	return topics
}
