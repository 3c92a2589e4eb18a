package registry

import (
	"context"
	"errors"
	"slices"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/whisper"
)

// lapse is how near its end a registration may be when it is renewed and still count as
// matched without a break: the index forgets it by the clock, and a change may wait for
// the disk.
const lapse = time.Hour

// Duties are the topics that envelopes are matched for, whatever the time is: those in the
// mode Every that are not muted. They are ascending; none if the registration does not
// listen.
func (r *Record) Duties() []whisper.Topic {
	if !r.Listens() {
		return nil
	}
	var topics []whisper.Topic
	for i := range r.Channels {
		if c := &r.Channels[i]; c.Mode == registration.Every && c.Muted == 0 {
			topics = append(topics, c.Topic)
		}
	}
	return topics
}

// follow numbers the duties of a record that replaces an old one: the number is the same
// as long as the same topics are matched without a break.
func (r *Record) follow(old *Record, now time.Time) {
	r.Duty = old.Duty
	renewed := !r.Expires.Equal(old.Expires) && old.Expires.Before(now.Add(lapse))
	if renewed || r.Listens() != old.Listens() || !slices.Equal(r.Duties(), old.Duties()) {
		r.Duty++
	}
}

// errUnsettled says that a write failed and what is on disk is not known yet.
var errUnsettled = errors.New("a registration could not be written, and may be on disk all the same")

// Indexed returns when Match knows all that Lookup had found before Indexed was called.
func (r *Registry) Indexed(ctx context.Context) error {
	r.mu.Lock()
	g, doubt := r.writing, r.doubt
	r.mu.Unlock()
	switch {
	case doubt != nil:
		return errUnsettled
	case g == nil:
		return nil
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
