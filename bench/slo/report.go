package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Promise is how soon a message must be accepted by the push service, and shown.
const Promise = 15 * time.Second

// Report is the result of a run.
type Report struct {
	Options Options
	Ways    []string // to be woken
	Took    time.Duration

	Written, Accepted, Shown int
	AcceptedLate, ShownLate  int            // more than Promise after they were written
	Lost                     int            // never shown
	LostOf                   map[string]int // of the lost ones, by the kind of their device
	Again                    int            // shown again
	Strangers                int            // shown although nobody wrote them
	Wakeups, Repeated        int
	Stumbles                 int // wake-ups that a device had to handle again
	Resets                   int64

	ToAccepted, ToShown []time.Duration // sorted

	ByWay   map[string][]time.Duration // ToShown by the way that woke the device, sorted
	Slowest Case                       // the slowest of the messages shown
	Fallen  int                        // messages of devices with a link that a push service had to announce

	PushBytes int64 // bodies of the pushes
	LinkBytes int64 // bytes through the devices' networks, both ways
	KeptBytes int64 // of those, of devices that are rung over their link, kept or not
	KeptShown int   // messages that these devices showed
	FullRange Baseline

	// What the server reports itself, over all its lives.
	ServerAccepted, ServerWithin float64
	ServerLate                   map[string]float64
}

// Case is one message and what delayed it.
type Case struct {
	Way, Network    string
	Direct          bool          // it was to be rung over its link
	Accepted, Shown time.Duration // since it was written
	Stumbles        int           // times that its device had to handle the wake-up again
	Troubles        []string      // faults meanwhile
}

// String describes the case in a sentence.
func (c Case) String() string {
	s := fmt.Sprintf("%v by %s over %s: %v until it was accepted", c.Shown.Round(time.Millisecond), c.Way, c.Network, c.Accepted.Round(time.Millisecond))
	if c.Direct && c.Way != direct {
		s += ", after its link did not answer"
	}
	if len(c.Troubles) > 0 {
		s += " (" + strings.Join(c.Troubles, ", ") + ")"
	}
	s += fmt.Sprintf(", %v until the device had fetched it", (c.Shown - c.Accepted).Round(time.Millisecond))
	if c.Stumbles > 0 {
		s += fmt.Sprintf(" (at attempt %d)", c.Stumbles+1)
	}
	return s
}

// caseOf describes what delayed a message. The caller holds the ledger's mu.
func (l *ledger) caseOf(m *message, p phone) Case {
	c := Case{
		Way: m.via, Network: networks()[p.network].Name, Direct: p.direct,
		Accepted: m.accepted.Sub(m.written), Shown: m.shown.Sub(m.written), Stumbles: m.stumbles,
	}
	for _, t := range l.troubles {
		if (t.provider == "" || t.provider == m.via) && t.from.Before(m.shown) && t.until.After(m.written.Add(-aftermath)) {
			who := t.provider
			if who == "" {
				who = "the server"
			}
			c.Troubles = append(c.Troubles, who+" "+t.what)
		}
	}
	return c
}

// aftermath is how long a fault that has ended can still delay a message: the
// server's start, the lane's pause, a hanging attempt.
const aftermath = 10 * time.Second

// read takes the ledger's numbers.
func (r *Report) read(l *ledger, phones []phone) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Written, r.Wakeups, r.Repeated = len(l.messages), l.wakeups, l.repeated
	r.PushBytes, r.Strangers, r.Stumbles = l.pushBytes, l.strangers, l.failed
	r.LostOf = make(map[string]int)
	r.ByWay = make(map[string][]time.Duration)
	for _, m := range l.messages {
		if !m.accepted.IsZero() {
			r.Accepted++
			r.ToAccepted = append(r.ToAccepted, m.accepted.Sub(m.written))
		}
		if m.shown.IsZero() {
			r.Lost++
			r.LostOf[phones[m.device].String()]++
			continue
		}
		r.Shown++
		r.Again += m.again
		if phones[m.device].direct {
			r.KeptShown++
		}
		took := m.shown.Sub(m.written)
		r.ToShown = append(r.ToShown, took)
		r.ByWay[m.via] = append(r.ByWay[m.via], took)
		if phones[m.device].direct && m.via != direct {
			r.Fallen++
		}
		if took > r.Slowest.Shown {
			r.Slowest = l.caseOf(m, phones[m.device])
		}
	}
	for _, list := range r.ByWay {
		slices.Sort(list)
	}
	late := func(list []time.Duration) (n int) {
		slices.Sort(list)
		for _, d := range list {
			if d > Promise {
				n++
			}
		}
		return n
	}
	r.AcceptedLate, r.ShownLate = late(r.ToAccepted), late(r.ToShown)
}

// serverView takes the server's own numbers.
func (r *Report) serverView(n *node) {
	const accepted = "whisperpush_pushext_archived_to_accepted_seconds"
	r.ServerAccepted = n.sum(accepted + "_count")
	r.ServerWithin = n.sum(accepted+"_bucket", `le="15"`)
	r.ServerLate = make(map[string]float64)
	for _, cause := range []string{"none", "provider", "lane", "rate", "budget", "absent", "restart", "disk"} {
		if late := n.sum("whisperpush_pushext_late_total", `cause="`+cause+`"`); late > 0 {
			r.ServerLate[cause] = late
		}
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(time.Millisecond)
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

// BytesPerMessage is what a device's radio carries for a message: its share of
// the pushes, the connections and the fetches.
func (r *Report) BytesPerMessage() float64 {
	return float64(r.PushBytes+r.LinkBytes) / float64(max(r.Shown, 1))
}

// Print writes the report.
func (r *Report) Print(w io.Writer) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%-34s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("run", "seed %d, %d messages to %d devices in %v by %s", r.Options.Seed, r.Written, r.Options.Devices, r.Options.Duration, strings.Join(r.Ways, ", "))
	line("accepted within 15 s of writing", "%.3f %% (%d of %d)", percent(r.Accepted-r.AcceptedLate, r.Written), r.Accepted-r.AcceptedLate, r.Written)
	line("shown within 15 s of writing", "%.3f %% (%d of %d)", percent(r.Shown-r.ShownLate, r.Written), r.Shown-r.ShownLate, r.Written)
	line("lost", "%d", r.Lost)
	for _, of := range slices.Sorted(maps.Keys(r.LostOf)) {
		line("  of "+of, "%d", r.LostOf[of])
	}
	line("written to accepted", "p50 %v, p99 %v, slowest %v", quantile(r.ToAccepted, .5), quantile(r.ToAccepted, .99), quantile(r.ToAccepted, 1))
	line("written to shown", "p50 %v, p99 %v, slowest %v", quantile(r.ToShown, .5), quantile(r.ToShown, .99), quantile(r.ToShown, 1))
	line("the slowest", "%v", r.Slowest)
	for _, way := range r.Ways {
		list := r.ByWay[way]
		line("  by "+way, "%d messages, p50 %v, p99 %v, slowest %v", len(list), quantile(list, .5), quantile(list, .99), quantile(list, 1))
	}
	line("links that did not answer", "%d messages went by the second route", r.Fallen)
	line("shown twice", "%d", r.Again)
	line("wake-ups", "%d, %.3f a message; %d named nothing new", r.Wakeups, float64(r.Wakeups)/float64(max(r.Shown, 1)), r.Repeated)
	line("connections reset by the network", "%d; %d wake-ups handled again for it and the restarts", r.Resets, r.Stumbles)
	line("bytes a message on the device", "%.0f: %.0f of pushes, %.0f of the link", r.BytesPerMessage(),
		float64(r.PushBytes)/float64(max(r.Shown, 1)), float64(r.LinkBytes)/float64(max(r.Shown, 1)))
	line("… on devices that keep a link", "%.0f of the link", float64(r.KeptBytes)/float64(max(r.KeptShown, 1)))
	line("… by a push and a full-range fetch", "%.0f a message", r.FullRange.BytesPerMessage)
	line("the server's own count", "%.0f accepted, %.0f within 15 s of archiving; late by cause: %v", r.ServerAccepted, r.ServerWithin, r.ServerLate)
}

// Judge returns which part of the promise was broken.
func (r *Report) Judge() error {
	if err := r.JudgeDelivery(); err != nil {
		return err
	}
	switch {
	case r.AcceptedLate > 0 || r.ShownLate > 0:
		return fmt.Errorf("%d messages were accepted and %d shown later than %v after they were written", r.AcceptedLate, r.ShownLate, Promise)
	case r.BytesPerMessage() >= r.FullRange.BytesPerMessage:
		return fmt.Errorf("a message costs a device %.0f bytes, and %.0f with full-range fetches", r.BytesPerMessage(), r.FullRange.BytesPerMessage)
	}
	return nil
}

// JudgeDelivery is Judge without what depends on a slow computer or a short run:
// every message is shown once, whatever fails.
func (r *Report) JudgeDelivery() error {
	switch {
	case r.Written != r.Options.Messages:
		return fmt.Errorf("%d of %d messages were written", r.Written, r.Options.Messages)
	case r.Lost > 0:
		return fmt.Errorf("%d messages were lost", r.Lost)
	case r.Again > 0 || r.Strangers > 0:
		return fmt.Errorf("%d messages were shown twice, and %d that nobody wrote", r.Again, r.Strangers)
	}
	for _, way := range r.Ways {
		if len(r.ByWay[way]) == 0 {
			return fmt.Errorf("nobody was woken by %s", way)
		}
	}
	if r.Fallen == 0 {
		return fmt.Errorf("no device with a link that does not answer was woken by its second route")
	}
	return nil
}
