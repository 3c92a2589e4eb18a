package simulate

import (
	"math"
	"slices"
	"time"

	"whisperpush/pushext/client/inbox"
	"whisperpush/pushext/pushserver/dispatch"
)

// Cost is what devices paid in total.
type Cost struct {
	Devices int           // that paid
	Wakeups int64         // pushes that reached a device
	Fetches int64         // requests for envelopes
	Bytes   int64         // over the radio, in both directions
	Radio   time.Duration // for which the radio was on while the app was not in the foreground
	Sounded int64         // messages for which a device made a sound
}

func (c *Cost) add(o Cost) {
	c.Devices += o.Devices
	c.Wakeups += o.Wakeups
	c.Fetches += o.Fetches
	c.Bytes += o.Bytes
	c.Radio += o.Radio
	c.Sounded += o.Sounded
}

// radio is the radio of one phone. While the app is in the foreground, the radio is
// on for the user, and wake-ups add nothing.
type radio struct {
	*device
	cost  *Cost
	ready time.Duration // when it has come up
	until time.Duration // when it goes off
}

// use turns the radio on for a time, and for its tail.
func (r *radio) use(at, busy time.Duration) {
	if r.looks.hold(at) {
		return
	}
	from := max(at, r.until)
	if at >= r.until {
		r.ready = at + promotion
	}
	to := max(at, r.ready) + busy + tail
	r.cost.Radio += max(to-from, 0)
	r.until = max(r.until, to)
}

// handset is a device as the server reaches it.
type handset struct {
	radio
	*scenario
	collapsers [3]bool // by route: a push that is Unreplaced has no collapse id there
	course     dispatch.Course
	arrivals   []arrival
	every      []arrival // also those that do not wake it

	arrived  int // how many of arrivals the server was told of
	look     int // index in looks of the present or next one
	looking  bool
	talk     int // index in talks of the next one
	gone     int // index in away of the present or next one
	moving   []delivery
	held     [3]held       // by route: pushes that services keep while the device cannot be reached
	hushed   time.Duration // latest time until which a dismissal is held back; 0: none is
	asked    int           // the arrival up to which it was told to fetch
	got      int           // the arrival up to which it has fetched, or need not
	fetching time.Duration // when its present fetch ends; 0: there is none
	upTo     int           // the arrival up to which that fetch goes
	unrung   int           // messages that did not wake it, and that it has from its history
	skipped  int           // messages that were read elsewhere before they woke it
	read     int
}

// delivery is a push on its way from a push service to the phone.
type delivery struct {
	at     time.Duration
	upTo   int
	pushes int64
}

// held is what a push service keeps: the pushes without a collapse id, and the newest
// push with one.
type held struct {
	upTo      int
	pushes    int64
	collapsed bool
}

// never is later than every event.
const never = time.Duration(math.MaxInt64)

// household is a person with their devices. Each device learns what was read on the
// other.
type household []*handset

// run lets all events happen up to the end.
func (h household) run(end time.Duration) {
	for {
		at, who := end, -1
		for i, d := range h {
			if next := d.next(); next < at {
				at, who = next, i
			}
		}
		if who < 0 {
			return
		}
		d := h[who]
		if read := d.advance(at); read > d.read && d.dismisses && len(h) > 1 {
			d.read = read
			d.cost.Bytes += askBytes // Seen
			d.course.Seen(clock(at), read)
			h[1-who].readElsewhere(at, read)
		}
	}
}

func clock(at time.Duration) time.Time { return epoch.Add(at) }

// next is when the next event of a device happens.
func (h *handset) next() time.Duration {
	at := never
	if h.arrived < len(h.arrivals) {
		at = h.arrivals[h.arrived].at
	}
	if len(h.moving) > 0 {
		at = min(at, h.moving[0].at)
	}
	if h.fetching > 0 {
		at = min(at, h.fetching)
	}
	if h.hushed > 0 {
		at = min(at, h.hushed)
	}
	if h.look < len(h.looks) {
		if h.looking {
			at = min(at, h.looks[h.look].to)
		} else {
			at = min(at, h.looks[h.look].from)
		}
	}
	if h.gone < len(h.away) {
		at = min(at, h.away[h.gone].to)
	}
	if h.link && h.talk < len(h.talks) {
		at = min(at, h.talks[h.talk].from)
	}
	if due, ok := h.course.Next(); ok {
		at = min(at, max(due.Sub(epoch), 0))
	}
	return at
}

// advance handles the events of a moment, and returns up to which message the user
// has read.
func (h *handset) advance(at time.Duration) (read int) {
	if due, ok := h.course.Next(); ok && !due.After(clock(at)) {
		h.course.Advance(clock(at))
	}
	if h.gone < len(h.away) && h.away[h.gone].to == at {
		h.gone++
		h.release(at)
	}
	if h.look < len(h.looks) && !h.looking && h.looks[h.look].from == at {
		h.looking = true
		h.opened(at)
		read = h.got
	}
	if h.link && h.talk < len(h.talks) && h.talks[h.talk].from == at {
		h.listened(at, h.talks[h.talk])
		h.talk++
	}
	for len(h.moving) > 0 && h.moving[0].at == at {
		h.woken(at, h.moving[0])
		h.moving = slices.Delete(h.moving, 0, 1)
	}
	if h.hushed > 0 && h.hushed == at {
		h.dismissed()
	}
	if h.fetching > 0 && h.fetching == at {
		h.fetched(at)
	}
	if h.looking && h.looks[h.look].to == at {
		read, h.looking = h.got, false
		h.look++
	}
	for h.arrived < len(h.arrivals) && h.arrivals[h.arrived].at == at {
		h.arrived++
		h.course.Match(clock(at))
	}
	return read
}

// linked reports whether the app has its own link.
func (h *handset) linked(at time.Duration) bool {
	return h.link && h.talks.hold(at) && !h.away.hold(at)
}

// send handles a push of the server for the device's course.
func (h *handset) send(now time.Time, p dispatch.Push) (there bool) {
	at := now.Sub(epoch)
	if h.link && p.Route == 0 {
		if !h.linked(at) {
			return false
		}
		h.cost.Bytes += ringBytes - pushBytes // woken adds the bytes of a push
	}
	switch {
	case p.Dismiss:
		if h.hushed == 0 {
			h.hushed = at + doze
		}
	case h.away.hold(at + pushLatency):
		w, unreplaced := &h.held[p.Route], p.Unreplaced && h.collapsers[p.Route]
		w.upTo = max(w.upTo, p.UpTo)
		if unreplaced || !w.collapsed {
			w.pushes++
		}
		w.collapsed = w.collapsed || !unreplaced
	default:
		h.moving = append(h.moving, delivery{at + pushLatency, p.UpTo, 1})
	}
	return true
}

// release delivers the pushes that were held back while the device could not be
// reached.
func (h *handset) release(at time.Duration) {
	for i, w := range h.held {
		if w.pushes > 0 {
			h.moving = append(h.moving, delivery{at + pushLatency, w.upTo, w.pushes})
		}
		h.held[i] = held{}
	}
}

// woken handles a push that has arrived.
func (h *handset) woken(at time.Duration, d delivery) {
	h.cost.Wakeups += d.pushes
	h.cost.Bytes += d.pushes * pushBytes
	h.use(at, 0)
	h.dismissed()
	h.asked = max(h.asked, d.upTo)
	if h.fetching == 0 && h.asked > h.got {
		h.fetch(at)
	}
}

// dismissed delivers a dismissal that was held back, because the phone is awake for
// something else.
func (h *handset) dismissed() {
	if h.hushed == 0 {
		return
	}
	h.hushed = 0
	h.cost.Wakeups++
	h.cost.Bytes += pushBytes
}

func (h *handset) fetch(at time.Duration) {
	h.fetching, h.upTo = at+fetchTime, h.asked
	h.cost.Fetches++
	if h.linked(at) {
		h.cost.Bytes += askBytes
	} else {
		h.cost.Bytes += coldFetchBytes
	}
	h.cost.Bytes += int64(h.upTo-h.got) * envelopeBytes
	h.use(at, fetchTime)
}

// fetched handles fetched envelopes as the inbox does.
func (h *handset) fetched(at time.Duration) {
	attention := inbox.ScreenOff
	if h.looking {
		attention = inbox.Watching
	}
	for ; h.got < h.upTo; h.got++ {
		switch inbox.Decide(attention, inbox.Facts{Muted: h.arrivals[h.got].muted, News: true}).Manner {
		case inbox.Alarm, inbox.HeadsUp:
			h.cost.Sounded++
		}
	}
	h.fetching = 0
	h.course.Fetched(clock(at), h.got)
	if h.asked > h.got {
		h.fetch(at)
	}
}

// opened handles the app's coming to the foreground. In every scenario the app then
// connects and asks for its history. Costs that are the same in all scenarios are not
// counted.
func (h *handset) opened(at time.Duration) {
	h.dismissed()
	missing := h.skipped
	h.skipped = 0
	if h.listens != toAll {
		known := h.unrung + h.arrived
		for all := h.every[known:]; len(all) > 0 && all[0].at <= at; all = all[1:] {
			h.unrung++
			missing++
		}
	}
	h.cost.Bytes += int64(missing) * envelopeBytes
}

// listened handles the app's showing the server that it is there, and its listening.
func (h *handset) listened(at time.Duration, t span) {
	if !h.linked(at) {
		return
	}
	h.cost.Bytes += askBytes + int64((t.to-t.from)/pingsEvery)*pingBytes
	h.course.Reach(clock(at))
}

// readElsewhere handles what the server and the other device's sync tell.
func (h *handset) readElsewhere(at time.Duration, upTo int) {
	upTo = min(upTo, h.arrived)
	h.course.SeenElsewhere(clock(at), upTo)
	if h.fetching == 0 && upTo > h.got {
		h.skipped += upTo - h.got
		h.got = upTo
	}
	h.read = max(h.read, upTo)
}

// rung computes the baseline: each message has its own push and its own fetch.
func (r *radio) rung(arrivals []arrival) {
	for _, a := range arrivals {
		at := a.at + pushLatency
		if s, away := r.away.at(at); away {
			at = s.to + pushLatency
		}
		r.cost.Wakeups++
		r.cost.Fetches++
		r.cost.Bytes += pushBytes + coldFetchBytes + envelopeBytes
		r.use(at, fetchTime)
		if !r.looks.hold(at) && !a.muted {
			r.cost.Sounded++
		}
	}
}
