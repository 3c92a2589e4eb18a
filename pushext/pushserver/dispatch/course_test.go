package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// google is a scripted provider that delays what is collapsible.
type google struct{ *scripted }

func (google) Collapsible() pushext.Budget {
	return pushext.Budget{Burst: 3, Every: 3 * time.Minute}
}

// sentAt is one push of either side.
type sentAt struct {
	At time.Duration
	Push
}

// A Course sends what the Dispatcher sends, push by push, whatever happens.
func TestCourse(t *testing.T) {
	const histories = 50
	for _, set := range []struct {
		name      string
		delivery  Delivery
		providers []string
	}{
		{"one service", Delivery{Budget: pushext.Budget{Burst: 2, Every: 10*time.Second + 7*time.Millisecond}}, []string{"fcm"}},
		{"another", Delivery{SilentAfter: 4}, []string{"apple"}},
		{"ladder", Delivery{}, []string{"fcm", "apple"}},
		{"blurred", Delivery{Batch: 20 * time.Second}, []string{"fcm", "apple"}},
		{"link alone", Delivery{}, []string{"up"}},
		{"link", Delivery{Budget: pushext.Budget{Burst: 3, Every: 10*time.Second + 7*time.Millisecond}}, []string{"up", "fcm", "apple"}},
	} {
		t.Run(set.name, func(t *testing.T) {
			for seed := range histories {
				synctest.Test(t, func(t *testing.T) { courseHistory(t, set.delivery, set.providers, uint64(seed)) })
				if t.Failed() {
					return
				}
			}
		})
	}
}

func courseHistory(t *testing.T, delivery Delivery, names []string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var linked atomic.Bool
	up, fcm, apns := &scripted{name: "up"}, &scripted{name: "fcm"}, &scripted{name: "apple"}
	up.set(func(context.Context, pushext.Notification) pushext.Verdict {
		if linked.Load() {
			return pushext.Verdict{Class: pushext.Delivered}
		}
		return pushext.Verdict{Class: pushext.Absent}
	})
	all := map[string]pushext.Provider{"up": cables{hosted{up}}, "fcm": google{fcm}, "apple": apple{apns}}
	scripts := map[string]*scripted{"up": up, "fcm": fcm, "apple": apns}
	var providers []pushext.Provider
	var rules []Rule
	var routes []string
	for _, name := range names {
		p := all[name]
		providers = append(providers, p)
		rules = append(rules, Rule{Provider: name, Linked: name == "up", Collapsible: collapsible(p), Quiet: quiet(p)})
		routes = append(routes, name+" token")
	}
	r := newRig(t, delivery, providers...)
	topic := r.device(1, routes...)
	r.start()
	defer r.stop()
	begin := time.Now()

	shared, err := NewRules(delivery, rules...)
	require.NoError(t, err)
	var want []sentAt
	course := NewCourse(shared, func(now time.Time, p Push) bool {
		there := !rules[p.Route].Linked || linked.Load()
		if there {
			want = append(want, sentAt{now.Sub(begin), p})
		}
		return there
	})
	var hashes []common.Hash
	number := map[common.Hash]int{}
	pass := func(d time.Duration) {
		end := time.Now().Add(d)
		time.Sleep(d)
		synctest.Wait()
		for at, ok := course.Next(); ok && !at.After(end); at, ok = course.Next() {
			course.Advance(at)
		}
	}
	history := ""
	for range 5 + rng.IntN(50) {
		upTo := 0
		if len(hashes) > 0 {
			upTo = 1 + rng.IntN(len(hashes))
		}
		now, told := time.Now(), 0
		if len(want) > 0 {
			told = want[len(want)-1].UpTo
		}
		switch op := rng.IntN(10); {
		case op < 4 && len(hashes) < 60:
			history += " match"
			h := r.log.Archive(topic)
			hashes = append(hashes, h)
			number[h] = len(hashes)
			course.Match(now)
		case op == 4:
			history += fmt.Sprint(" fetch ", told)
			require.NoError(t, r.box.Fetched(1, hashes[:told], true))
			course.Fetched(now, told)
		case op == 5 && upTo > 0:
			history += fmt.Sprint(" seen elsewhere ", upTo)
			shown, err := r.box.SeenElsewhere([]registration.ID{1}, hashes[:upTo])
			require.NoError(t, err)
			if len(shown[1]) > 0 {
				r.dispatcher.Dismiss(1, shown[1])
			}
			course.SeenElsewhere(now, upTo)
		case op == 6:
			history += fmt.Sprint(" seen ", told)
			_, err := r.box.Seen(1, nil, hashes[:told])
			require.NoError(t, err)
			course.Seen(now, told)
		case op == 7:
			linked.Store(!linked.Load())
			history += fmt.Sprint(" link ", linked.Load())
			if linked.Load() {
				r.dispatcher.Reach(1)
				course.Reach(now)
			}
		}
		synctest.Wait()
		d := time.Duration(rng.IntN(20)) * time.Second
		if rng.IntN(8) == 0 {
			d = time.Duration(rng.IntN(90)) * time.Minute
		}
		history += fmt.Sprintf(" %v;", d)
		pass(d + time.Millisecond)
	}
	pass(3 * time.Hour)
	var got []sentAt
	for route, name := range names {
		for _, p := range scripts[name].all() {
			if p.Class != pushext.Delivered {
				continue
			}
			s := sentAt{p.At.Sub(begin), Push{Route: route, Dismiss: p.Payload.Kind == pushwire.Dismiss, Unreplaced: p.Unreplaced}}
			if !s.Dismiss {
				s.UpTo = number[p.Payload.Hashes[0]]
			}
			got = append(got, s)
		}
	}
	slices.SortStableFunc(got, func(a, b sentAt) int { return int(a.At - b.At) })
	for i := range want {
		if want[i].Dismiss {
			want[i].UpTo = 0
		}
	}
	require.Equal(t, got, want, "seed %d:%s", seed, history)
}
