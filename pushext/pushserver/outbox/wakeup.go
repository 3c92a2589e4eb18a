package outbox

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// fetching is how many unfetched wake-ups a device may have and still count as about to
// fetch: in a lively conversation the next message comes while the last one is fetched.
// Once the device's collapsible wake-ups are used up, one with a collapse id would come
// minutes late; without it, a few wake-ups at most wait at the service.
const fetching = 5

// Wakeup is the content of one wake-up for a device.
type Wakeup struct {
	Seq    uint64 // push sequence number; the same content has the same number
	upTo   uint64 // entry.seq it covers
	Hashes []common.Hash
	More   bool
	Again  bool // all of it was accepted before, through another route

	// Unreplaced is set if hardly anything waits that this wake-up could replace, and
	// the device's budget of collapsible ones is spent.
	Unreplaced bool

	Key   *pushwire.ChainKey // to seal it under; nil: no chain
	chain uint64             // version of the chain it was asked for
}

var (
	// ErrNothing says that a device has fetched everything, or is left alone.
	ErrNothing = errors.New("nothing to wake the device for")
	// ErrReserving says that a device is rung once a sequence number is reserved.
	ErrReserving = errors.New("waits for a sequence number")
)

// Compose says what to wake a device for. The error is ErrNothing, the disk's, or
// ErrReserving if a sequence number has to be reserved first; Ring follows when it is.
// last is the wake-up of the previous attempt, if any: as long as nothing matched since,
// the number stays. again asks for the same content although it was accepted, for the
// next route. collapsible is the push service's budget for wake-ups with a collapse id,
// and chain the version of the registration's chain.
func (o *Outbox) Compose(id registration.ID, last *Wakeup, again bool, collapsible pushext.Budget, chain uint64) (w Wakeup, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.chained(id, chain)
	if err != nil {
		return Wakeup{}, err
	}
	unread, pending := d.unread()
	if unread == 0 || pending == 0 && !again || o.silenced(d) {
		return Wakeup{}, ErrNothing
	}
	w.upTo = d.newest()
	w.Hashes, w.More = d.hashes(pushwire.MaxHashes)
	w.Unreplaced = d.strikes < fetching && d.collapsed.Wait(time.Now(), collapsible) > 0
	w.Again = pending == 0
	w.chain = chain
	switch {
	case last != nil && last.upTo == w.upTo:
		w.Seq, w.Key = last.Seq, last.Key
		if w.Key == nil || last.chain != chain {
			w.Key = d.chain.take()
		}
	case d.used < d.reserved:
		d.used++
		w.Seq, w.Key = d.used, d.chain.take()
		if d.reserved-d.used < seqBlock/2 {
			o.touch(d)
		}
	default:
		d.waiting = true
		o.touch(d)
		signal(o.now)
		return Wakeup{}, ErrReserving
	}
	return w, nil
}

// Accepted records that a provider accepted a wake-up. collapsible is its service's
// budget for wake-ups with a collapse id, and climb the route to be tried if no fetch
// comes, 0 for none. Accepted returns when each envelope was received that the wake-up
// newly covers.
func (o *Outbox) Accepted(id registration.ID, w Wakeup, provider string, collapsible pushext.Budget, climb int, now time.Time) (received []time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.existing(id)
	if err != nil {
		o.log.Error("cannot record an accepted wake-up; it will be repeated", "err", err)
		return nil
	}
	if d == nil {
		return nil
	}
	d.accept(provider, now)
	d.climb = uint8(climb)
	if !w.Unreplaced && collapsible.Every > 0 && d.collapsed.Wait(now, collapsible) == 0 {
		d.collapsed.Take(now, collapsible)
	}
	o.touch(d)
	if w.upTo <= d.covered {
		return nil
	}
	for _, e := range d.entries {
		if !e.read && e.seq > d.covered && e.seq <= w.upTo {
			received = append(received, e.received())
		}
	}
	d.covered = w.upTo
	d.strikes++
	if o.silent > 0 && d.strikes == o.silent {
		o.m.silenced.Inc()
	}
	return received
}

// Undeliverable records that a wake-up can never be sent: what it was for ends here.
func (o *Outbox) Undeliverable(id registration.ID, w Wakeup, reason string) {
	o.undeliverable(id, w.upTo, reason)
}

// ReasonWithdrawn is why a match is undeliverable if the operator has taken the last push
// service of its device out of the settings.
const ReasonWithdrawn = "provider removed"

// Withdrawn ends what waits for a device that no route leads to any more, because the
// operator has taken its push services out of the settings.
func (o *Outbox) Withdrawn(id registration.ID) { o.undeliverable(id, math.MaxUint64, ReasonWithdrawn) }

// undeliverable ends the matches that a device was not woken for, up to a place in its
// record.
func (o *Outbox) undeliverable(id registration.ID, upTo uint64, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.existing(id)
	if err != nil {
		o.log.Error("cannot record an undeliverable wake-up; it will be tried again", "err", err)
		return
	}
	if d == nil {
		return
	}
	d.entries = slices.DeleteFunc(d.entries, func(e entry) bool {
		if e.read || e.seq <= d.covered || e.seq > upTo {
			return false
		}
		o.ended(d, e, outcomeUndeliverable, reason)
		return true
	})
	d.more = true
	o.touch(d)
}

// silenced reports whether a device is left alone until it shows a sign of life.
func (o *Outbox) silenced(d *device) bool { return o.silent > 0 && d.strikes >= o.silent }
