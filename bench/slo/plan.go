package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"whisperpush/pushext/emulate"
	"whisperpush/testutil/faultproxy"
)

// networks are the networks of the devices, with the losses that a phone sees: a
// share of the connections is reset on the way.
func networks() []faultproxy.Profile {
	wifi, mobile, edge := faultproxy.WiFi, faultproxy.Mobile, faultproxy.Edge
	wifi.Reset, mobile.Reset, edge.Reset = 0.01, 0.03, 0.05
	return []faultproxy.Profile{wifi, mobile, edge}
}

// share of the devices on each of networks.
var share = []float64{0.5, 0.35, 0.15}

// write is a message to be written.
type write struct {
	at     time.Duration // since the beginning of the writing
	device int
}

// fault is something that goes wrong.
type fault struct {
	at, length time.Duration
	what       string
	provider   string         // whose emulator; empty: the server itself
	answer     emulate.Answer // of the provider
	kill       bool           // the server is killed, instead of stopped
}

// direct is the way of a device that stays connected, with a push service as its
// second route.
const direct = "direct"

// ways returns all ways to be woken: the push services, and direct.
func ways(services []string) []string { return append(slices.Clone(services), direct) }

// parting is how a device rung over its link stops being reachable there.
type parting int

const (
	stays   parting = iota // connected for the whole run
	hangsUp                // sleeps from then on like the others: the server knows that it is gone
	freezes                // whenever it has nothing to do: the link seems to be up, and nobody answers
)

// phone is a device of the plan.
type phone struct {
	service string // that pushes to it
	network int    // an index of networks
	direct  bool   // rung over its own link first
	parting parting
	leaves  time.Duration // since the beginning of the writing
}

// String describes the phone.
func (p phone) String() string {
	on := networks()[p.network].Name
	if !p.direct {
		return p.service + " on " + on
	}
	after := fmt.Sprintf(" after %v", p.leaves.Round(time.Second))
	return fmt.Sprintf("direct on %s, then %s; it %s", on, p.service, [...]string{"stays", "hangs up" + after, "freezes" + after}[p.parting])
}

// plan is a run, drawn from its seed.
type plan struct {
	phones []phone // by index of the device
	writes []write // by time
	faults []fault // by time
}

func newPlan(o Options, services []string) plan {
	random := rand.New(rand.NewPCG(o.Seed, 1))
	var p plan
	all := ways(services)
	for i := range o.Devices {
		one := phone{service: services[i%len(services)]}
		if way := all[i%len(all)]; way == direct {
			one.direct = true
			one.parting = parting(i / len(all) % 3)
			one.leaves = o.Duration/4 + time.Duration(random.Int64N(int64(o.Duration/2)))
		} else {
			one.service = way
		}
		network, draw := 0, random.Float64()
		for ; network < len(share)-1 && draw >= share[network]; network++ {
			draw -= share[network]
		}
		one.network = network
		p.phones = append(p.phones, one)
	}
	// People write as they talk: some messages in a row, some seconds apart, then
	// nothing for a long time.
	for len(p.writes) < o.Messages {
		device := random.IntN(o.Devices)
		at := time.Duration(random.Int64N(int64(o.Duration)))
		for range min(1+random.IntN(7), o.Messages-len(p.writes)) {
			p.writes = append(p.writes, write{at: min(at, o.Duration), device: device})
			at += time.Duration(random.ExpFloat64() * float64(2*time.Second))
		}
	}
	slices.SortStableFunc(p.writes, func(a, b write) int { return cmp.Compare(a.at, b.at) })
	p.faults = faults(o.Duration, services)
	return p
}

// outage is how long a provider is down.
const outage = 8 * time.Second

// faults spreads the failures over the run.
func faults(duration time.Duration, services []string) []fault {
	always := func(a emulate.Answer) emulate.Answer { a.Times = -1; return a }
	failures := []fault{
		{what: "breaks every connection", length: outage, answer: always(emulate.Answer{Reset: true})},
		{what: "answers 503", length: outage, answer: always(emulate.Answer{Status: 503})},
		{what: "answers 429 with Retry-After: 4", length: 4 * time.Second, answer: always(emulate.Answer{Status: 429, RetryAfter: "4"})},
		{what: "hangs", length: 4 * time.Second, answer: always(emulate.Answer{Hang: true})},
	}
	// In a short run, only as many faults as fit without overlap: each gets the
	// time that the promise allows.
	room := max(int(duration/(20*time.Second)), 1)
	var list []fault
	for i := range min(max(len(services), len(failures)), room) {
		f := failures[i%len(failures)]
		f.provider = services[i%len(services)]
		list = append(list, f)
	}
	restarts := []fault{{what: "is killed (SIGKILL)", kill: true}, {what: "is stopped (SIGTERM)"}}
	for i, f := range restarts {
		if i < max(room/2, 1) {
			list = append(list, f)
		}
	}
	// Evenly, from a tenth of the run to a tenth before its end.
	step := duration * 8 / 10 / time.Duration(len(list))
	for i := range list {
		list[i].at = duration/10 + time.Duration(i)*step
	}
	return list
}
