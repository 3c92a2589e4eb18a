package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"whisperpush/testutil/emulate"
	"whisperpush/testutil/faultproxy"
)

// networks are what the devices are on, with the losses that a phone sees: a
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
	kill       bool           // the server dies, instead of being told to stop
}

// plan is a run, drawn from its seed.
type plan struct {
	provider []string // of each device
	network  []int    // of each device, an index of networks
	writes   []write  // by time
	faults   []fault  // by time
}

func newPlan(o Options, providers []string) plan {
	random := rand.New(rand.NewPCG(o.Seed, 1))
	var p plan
	for i := range o.Devices {
		p.provider = append(p.provider, providers[i%len(providers)])
		network, draw := 0, random.Float64()
		for ; network < len(share)-1 && draw >= share[network]; network++ {
			draw -= share[network]
		}
		p.network = append(p.network, network)
	}
	// People write as they talk: some messages in a row, some seconds apart,
	// then nothing for long.
	for len(p.writes) < o.Messages {
		device := random.IntN(o.Devices)
		at := time.Duration(random.Int64N(int64(o.Duration)))
		for range min(1+random.IntN(7), o.Messages-len(p.writes)) {
			p.writes = append(p.writes, write{at: min(at, o.Duration), device: device})
			at += time.Duration(random.ExpFloat64() * float64(2*time.Second))
		}
	}
	slices.SortStableFunc(p.writes, func(a, b write) int { return cmp.Compare(a.at, b.at) })
	p.faults = faults(o.Duration, providers)
	return p
}

// outage is how long a provider is down.
const outage = 8 * time.Second

// faults spreads the failures over the run.
func faults(duration time.Duration, providers []string) []fault {
	always := func(a emulate.Answer) emulate.Answer { a.Times = -1; return a }
	ways := []fault{
		{what: "breaks every connection", length: outage, answer: always(emulate.Answer{Reset: true})},
		{what: "answers 503", length: outage, answer: always(emulate.Answer{Status: 503})},
		{what: "answers 429 with Retry-After: 4", length: 4 * time.Second, answer: always(emulate.Answer{Status: 429, RetryAfter: "4"})},
		{what: "hangs", length: 4 * time.Second, answer: always(emulate.Answer{Hang: true})},
	}
	// Where the run is short, only as many as fit without overlap: each is
	// given the time that the promise takes.
	room := max(int(duration/(20*time.Second)), 1)
	var list []fault
	for i := range min(max(len(providers), len(ways)), room) {
		f := ways[i%len(ways)]
		f.provider = providers[i%len(providers)]
		list = append(list, f)
	}
	restarts := []fault{{what: "is killed (SIGKILL)", kill: true}, {what: "is stopped (SIGTERM)"}}
	for i, f := range restarts {
		if i < max(room/2, 1) {
			list = append(list, f)
		}
	}
	// Evenly, from a tenth of the run to its end less a tenth.
	step := duration * 8 / 10 / time.Duration(len(list))
	for i := range list {
		list[i].at = duration/10 + time.Duration(i)*step
	}
	return list
}
