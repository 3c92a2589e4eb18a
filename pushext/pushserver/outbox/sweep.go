package outbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"whisperpush/pushext/pushserver/registration"
)

// Sweep ends the entries that are older than the TTL, and forgets devices whose
// registration is absent: a crash, or a match in the moment in which it ended, may
// leave one behind. A device that waits for a wake-up is kept, as the wake-up finds out.
func (o *Outbox) Sweep(ctx context.Context, now time.Time, absent func(registration.ID) bool) error {
	o.mu.Lock()
	limit := now.Add(-o.ttl).UnixMilli()
	o.mu.Unlock()
	stale := func(e entry) bool { return e.at < limit }
	return errors.Join(o.records(ctx, func(id registration.ID, d *device, err error) error {
		if err != nil {
			return nil // told when it is loaded
		}
		if _, pending := d.unread(); pending == 0 && absent(id) {
			return o.Forget(id, OutcomeGone, ReasonAbsent)
		}
		if !slices.ContainsFunc(d.entries, stale) {
			return nil
		}
		return o.update(id, func(d *device, _ time.Time) {
			d.entries = slices.DeleteFunc(d.entries, func(e entry) bool {
				if stale(e) && !e.read {
					o.expire(d, e)
				}
				return stale(e)
			})
		})
	}), o.sweepTwins())
}

// expire ends an unread entry that is too old. The reason says what kept it
// from being sent, or that it was.
func (o *Outbox) expire(d *device, e entry) {
	d.more = true
	switch {
	case e.seq <= d.covered:
		o.ended(d, e, outcomeExpired, "unfetched")
	case o.silenced(d):
		o.ended(d, e, outcomeExpired, "silenced")
	default:
		o.ended(d, e, outcomeExpired, "unsent")
	}
}
