package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"

	"whisperpush/pushext/pushserver/dispatch"
)

// Limits of Options.
const (
	MaxDevices = 100_000_000
	MaxDays    = 31
)

// Options configure a run. The zero value is a million devices for a day, with the seed
// 0.
type Options struct {
	Devices int    // 0 is a million
	Days    int    // 0 is one
	Seed    uint64 // of everything random

	// Progress, if not nil, is called now and then with how many districts are done,
	// from several goroutines.
	Progress func(done, all int)

	together int // devices that live together; 0 is districtSize
}

// ErrOptions is wrapped by Run's error for Options that it does not accept.
var ErrOptions = errors.New("cannot simulate that")

// districtSize is how many devices live together: enough for groups of 200 to consist
// of different people, and few enough to stay in a processor's caches.
const districtSize = 2000

// Line is what a scenario costs, beside the baseline for the same people.
type Line struct {
	Name string
	What string
	Cost Cost // ours
	Base Cost // one push and one fetch for each message
}

// Group is what a group of some size costs one of its members.
type Group struct {
	Size     int
	Messages Cost // rung for every message, coalesced
	Mentions Cost // rung only for mentions, by any route
	Base     Cost // one push for each message
}

// Result is the outcome of a run.
type Result struct {
	Options Options
	Lines   []Line
	Groups  []Group
}

// A group of the comparison gets the same number of messages a day whatever its size.
// One in twenty of them mentions one other member; in a group of two all do.
const (
	groupMessages = 100
	groupMention  = 0.05
)

var groupSizes = []int{2, 20, 200}

// Run runs the simulation on all processors. The error is ctx's, or wraps ErrOptions.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Devices == 0 {
		o.Devices = 1_000_000
	}
	if o.Days == 0 {
		o.Days = 1
	}
	if o.together == 0 {
		o.together = districtSize
	}
	if o.Devices < 1 || o.Devices > MaxDevices {
		return nil, fmt.Errorf("%w: %d devices, give 1 to %d", ErrOptions, o.Devices, MaxDevices)
	}
	if o.Days < 1 || o.Days > MaxDays {
		return nil, fmt.Errorf("%w: %d days, give 1 to %d", ErrOptions, o.Days, MaxDays)
	}
	w := world{Options: o, rules: make([]*dispatch.Rules, len(scenarios))}
	for i := range scenarios {
		var err error
		if w.rules[i], err = scenarios[i].rules(); err != nil {
			return nil, err
		}
	}
	return w.run(ctx)
}

// world is one run.
type world struct {
	Options
	rules []*dispatch.Rules // of the scenarios
}

func (w *world) run(ctx context.Context) (*Result, error) {
	result := Result{Options: w.Options}
	for _, s := range scenarios {
		result.Lines = append(result.Lines, Line{Name: s.name, What: s.what})
	}
	for _, size := range groupSizes {
		result.Groups = append(result.Groups, Group{Size: size})
	}
	districts := (w.Devices + w.together - 1) / w.together
	jobs := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards result and done
	done := 0
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := range jobs {
				lines, groups := w.district(n)
				mu.Lock()
				for i := range lines {
					result.Lines[i].Cost.add(lines[i].Cost)
					result.Lines[i].Base.add(lines[i].Base)
				}
				for i := range groups {
					result.Groups[i].Messages.add(groups[i].Messages)
					result.Groups[i].Mentions.add(groups[i].Mentions)
					result.Groups[i].Base.add(groups[i].Base)
				}
				done++
				if w.Progress != nil {
					w.Progress(done, districts)
				}
				mu.Unlock()
			}
		})
	}
	for n := 0; n < districts && ctx.Err() == nil; n++ {
		select {
		case jobs <- n:
		case <-ctx.Done():
		}
	}
	close(jobs)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &result, nil
}

// district simulates the n-th district, which has a random generator of its own. For
// one district in ten it also simulates groups for the comparison.
func (w *world) district(n int) (lines []Line, groups []Group) {
	size := min(w.together, w.Devices-n*w.together)
	d := draw(rand.New(rand.NewPCG(w.Seed, uint64(n))), size, w.Days)
	all := d.match(toAll)
	by := map[listening][][]arrival{toAll: all, toUnmuted: d.match(toUnmuted), toMentions: d.match(toMentions)}
	everybody, pairs := d.baseline(all)
	for i := range scenarios {
		s := &scenarios[i]
		base := everybody
		if s.pairs {
			base = pairs
		}
		lines = append(lines, Line{Cost: d.cost(s, w.rules[i], by[s.listens], all, w.Days), Base: base})
	}
	if n%10 != 0 {
		return lines, nil
	}
	for i, members := range groupSizes {
		mention := groupMention
		if members == 2 {
			mention = 1
		}
		rng := rand.New(rand.NewPCG(w.Seed, uint64(n)<<8|uint64(i)|1<<63))
		d := drawGroups(rng, max(size/members, 1), members, w.Days, groupMessages, mention)
		all := d.match(toAll)
		base, _ := d.baseline(all)
		groups = append(groups, Group{
			Messages: d.cost(&scenarios[0], w.rules[0], all, all, w.Days),
			Mentions: d.cost(&scenarios[1], w.rules[1], d.match(toMentions), all, w.Days),
			Base:     base,
		})
	}
	return lines, groups
}

// baseline is the cost of one push for each message: for everybody, and for people with
// two devices.
func (d *district) baseline(arrivals [][]arrival) (everybody, pairs Cost) {
	for i := range d.devices {
		c := Cost{Devices: 1}
		r := radio{device: &d.devices[i], cost: &c}
		r.rung(arrivals[i])
		everybody.add(c)
		if d.people[d.devices[i].owner].second >= 0 {
			pairs.add(c)
		}
	}
	return everybody, pairs
}

// cost returns what devices pay in a scenario.
func (d *district) cost(s *scenario, rules *dispatch.Rules, arrivals, all [][]arrival, days int) (sum Cost) {
	end := drawn{days: days}.end()
	var collapsers [3]bool
	for i, route := range s.routes() {
		collapsers[i] = route.Collapsible.Every > 0
	}
	for _, p := range d.people {
		if s.pairs && p.second < 0 {
			continue
		}
		var home household
		for _, at := range [...]int{p.first, p.second} {
			if at < 0 {
				continue
			}
			h := &handset{
				radio: radio{device: &d.devices[at], cost: &sum}, scenario: s, collapsers: collapsers, arrivals: arrivals[at], every: all[at],
			}
			h.course = dispatch.NewCourse(rules, h.send)
			home = append(home, h)
			sum.Devices++
		}
		home.run(end)
	}
	return sum
}
