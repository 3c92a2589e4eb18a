package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Promise is how soon a message is to be accepted by the push service, and shown.
const Promise = 15 * time.Second

// Report is how a run went.
type Report struct {
	Options   Options
	Providers []string
	Took      time.Duration

	Written, Accepted, Shown int
	AcceptedLate, ShownLate  int // later than Promise after they were written
	Lost                     int // never shown
	Again                    int // shown once more
	Strangers                int // shown, and nobody wrote them
	Wakeups, Repeated        int
	Stumbles                 int // wake-ups that a device had to handle again
	Resets                   int64

	ToAccepted, ToShown []time.Duration // sorted

	PushBytes int64 // bodies of the pushes
	LinkBytes int64 // through the devices' networks, both ways
	FullRange Baseline

	// What the server says itself, over all its lives.
	ServerAccepted, ServerWithin float64
	ServerLate                   map[string]float64
}

// read takes the ledger's numbers.
func (r *Report) read(l *ledger, link int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Written, r.Wakeups, r.Repeated = len(l.messages), l.wakeups, l.repeated
	r.PushBytes, r.LinkBytes, r.Strangers, r.Stumbles = l.pushBytes, link, l.strangers, l.failed
	for _, m := range l.messages {
		if !m.accepted.IsZero() {
			r.Accepted++
			r.ToAccepted = append(r.ToAccepted, m.accepted.Sub(m.written))
		}
		if m.shown.IsZero() {
			r.Lost++
			continue
		}
		r.Shown++
		r.Again += m.again
		r.ToShown = append(r.ToShown, m.shown.Sub(m.written))
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
	for _, cause := range []string{"none", "provider", "lane", "budget", "restart", "disk"} {
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
	line("run", "seed %d, %d messages to %d devices in %v by %s", r.Options.Seed, r.Written, r.Options.Devices, r.Options.Duration, strings.Join(r.Providers, ", "))
	line("accepted within 15 s of writing", "%.3f %% (%d of %d)", percent(r.Accepted-r.AcceptedLate, r.Written), r.Accepted-r.AcceptedLate, r.Written)
	line("shown within 15 s of writing", "%.3f %% (%d of %d)", percent(r.Shown-r.ShownLate, r.Written), r.Shown-r.ShownLate, r.Written)
	line("lost", "%d", r.Lost)
	line("written to accepted", "p50 %v, p99 %v, slowest %v", quantile(r.ToAccepted, .5), quantile(r.ToAccepted, .99), quantile(r.ToAccepted, 1))
	line("written to shown", "p50 %v, p99 %v, slowest %v", quantile(r.ToShown, .5), quantile(r.ToShown, .99), quantile(r.ToShown, 1))
	line("shown twice", "%d", r.Again)
	line("wake-ups", "%d, %.3f a message; %d named nothing new", r.Wakeups, float64(r.Wakeups)/float64(max(r.Shown, 1)), r.Repeated)
	line("connections reset by the network", "%d; %d wake-ups handled again for it and the restarts", r.Resets, r.Stumbles)
	line("bytes a message on the device", "%.0f: %.0f of pushes, %.0f of the link", r.BytesPerMessage(),
		float64(r.PushBytes)/float64(max(r.Shown, 1)), float64(r.LinkBytes)/float64(max(r.Shown, 1)))
	line("… by a push and a full-range fetch", "%.0f a message", r.FullRange.BytesPerMessage)
	line("the server's own count", "%.0f accepted, %.0f within 15 s of archiving; late by cause: %v", r.ServerAccepted, r.ServerWithin, r.ServerLate)
}

// Judge says what of the promise was broken.
func (r *Report) Judge() error {
	switch {
	case r.Written != r.Options.Messages:
		return fmt.Errorf("%d of %d messages were written", r.Written, r.Options.Messages)
	case r.Lost > 0:
		return fmt.Errorf("%d messages were lost", r.Lost)
	case r.AcceptedLate > 0 || r.ShownLate > 0:
		return fmt.Errorf("%d messages were accepted and %d shown later than %v after they were written", r.AcceptedLate, r.ShownLate, Promise)
	case r.Again > 0 || r.Strangers > 0:
		return fmt.Errorf("%d messages were shown twice, and %d that nobody wrote", r.Again, r.Strangers)
	case r.BytesPerMessage() >= r.FullRange.BytesPerMessage:
		return fmt.Errorf("a message costs a device %.0f bytes, and %.0f with full-range fetches", r.BytesPerMessage(), r.FullRange.BytesPerMessage)
	}
	return nil
}
