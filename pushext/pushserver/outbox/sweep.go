package outbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"whisperpush/pushext/pushserver/registration"
)

// Sweep ends the entries that are older than the TTL, and forgets devices whose
// registration is absent: a crash, or a match just as it ended, may leave one behind. A
// device with a pending wake-up is kept, because the wake-up finds out. On its way Sweep
// counts the matches that wait, and checks the books of matches.
func (o *Outbox) Sweep(ctx context.Context, now time.Time, absent func(registration.ID) bool) error {
	o.mu.Lock()
	limit := now.Add(-o.ttl).UnixMilli()
	o.mu.Unlock()
	stale := func(e entry) bool { return e.at < limit }
	before, open := o.m.accounts.mark(), 0
	if err := o.Synced(ctx); err != nil {
		return err
	}
	err := o.records(ctx, func(id registration.ID, d *device, err error) error {
		if err != nil {
			return nil // logged when it is loaded
		}
		for _, e := range d.entries {
			if !e.read && !stale(e) {
				open++
			}
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
	})
	if err == nil {
		wrong := o.m.accounts.settle(before, o.m.accounts.mark(), int64(open))
		o.m.open.Set(float64(open))
		o.m.unaccounted.Set(float64(wrong))
	}
	return errors.Join(err, o.sweepTwins())
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
