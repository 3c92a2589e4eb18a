package dispatch

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
)

// Whatever the rate, no window sees more than rate·(t + 0.1 s) attempts, or one
// more where a tenth of a second is not worth one.
func TestPaceProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.01, MaxRate).Draw(t, "rate")
		p := pace(rate)
		window := rapid.Float64Range(0, 3600).Draw(t, "window")
		most := float64(p.Burst) + math.Floor(window*1e9/float64(p.Every))
		if allowed := rate*window + max(rate/10, 1); most > allowed+1e-6*allowed {
			t.Fatalf("%v in %v s at %v a second, more than %v", most, window, rate, allowed)
		}
	})
	require.Equal(t, pushext.Budget{}, pace(0))
	require.Equal(t, pushext.Budget{}, pace(-1))
}

// within demands that no window of pushes has more than a pace allows.
func within(t *testing.T, p pushext.Budget, pushes []push) {
	t.Helper()
	var b spacing.Bucket
	for i, sent := range pushes {
		require.Zero(t, b.Wait(sent.At, p), "attempt %d of %d", i, len(pushes))
		b.Take(sent.At, p)
	}
}

// After an outage a push service sees the waiting wake-ups at its rate, not at once;
// nothing is lost or sent twice, and the order is that of arrival.
func TestRateAfterAnOutage(t *testing.T) {
	token := func(i int) string { return fmt.Sprintf("token-%d", i) }
	for name, test := range map[string]struct {
		outage  time.Duration
		devices int
		rate    float64
	}{
		"short":          {10 * time.Second, 100, 50},
		"long":           {10 * time.Minute, 400, 20},
		"below one":      {2 * time.Minute, 30, 0.5},
		"beyond a burst": {time.Minute, 400, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, other := &scripted{name: "fcm"}, &scripted{name: "apns"}
				r := newRig(t, Delivery{Rates: map[string]float64{"fcm": test.rate}}, p, other)
				r.start()
				defer r.stop()
				down := pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"}
				p.always(down)
				for i := range test.devices {
					r.log.Archive(r.device(registration.ID(i+1), "fcm "+token(i)))
					time.Sleep(test.outage / time.Duration(test.devices))
				}
				r.log.Archive(r.device(1<<20, "apns token"))
				p.always(pushext.Verdict{Class: pushext.Delivered})
				back := time.Now()
				time.Sleep(time.Millisecond)
				require.Len(t, other.all(), 1, "other lanes do not wait")
				time.Sleep(time.Minute + time.Duration(float64(test.devices)/test.rate*float64(time.Second)))

				within(t, pace(test.rate), p.all())
				tries := make(map[string]int)
				delivered := make(map[string]int)
				first := make(map[string]time.Time) // deliveries of devices that were not tried in vain
				for _, sent := range p.all() {
					tries[sent.Address.Token]++
					if sent.Class == pushext.Delivered {
						delivered[sent.Address.Token]++
						if tries[sent.Address.Token] == 1 {
							first[sent.Address.Token] = sent.At
						}
					}
				}
				require.Len(t, delivered, test.devices, "nothing is lost")
				for token, n := range delivered {
					require.Equal(t, 1, n, token)
				}
				require.NotEmpty(t, first)
				latest := back
				for i := range test.devices {
					if at, ok := first[token(i)]; ok {
						require.False(t, at.Before(latest), "first come, first served: %d", i)
						latest = at
					}
				}
			})
		})
	}
}

// paced is a provider whose service documents a rate.
type paced struct {
	*scripted
	rate float64
}

func (p paced) Rate() float64 { return p.rate }

// A rate is each lane's own: one host's backlog does not hold up another's, and a
// lane that was forgotten does not come back with a full bucket.
func TestRateOfEachHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := hosted{&scripted{name: "webhook"}}
		r := newRig(t, Delivery{Rates: map[string]float64{"webhook": 2}}, p)
		r.start()
		defer r.stop()
		id := registration.ID(0)
		ring := func(host string) {
			id++
			r.log.Archive(r.device(id, "webhook "+host+"/x"))
		}
		for range 10 {
			ring("a")
			time.Sleep(100 * time.Millisecond)
		}
		began := time.Now()
		ring("b")
		synctest.Wait()
		time.Sleep(time.Minute)
		require.Equal(t, began, p.to("b/x")[0].At)
		require.Equal(t, began.Add(-time.Second), p.to("a/x")[0].At, "what was not sent does not count")
		require.Len(t, p.to("a/x"), 10)
		within(t, pace(2), p.to("a/x"))
		time.Sleep(gateWindow)
		require.Zero(t, r.metric("lanes"), "nothing is to be remembered any more")
	})
}

// What the service documents counts unless the operator says otherwise.
func TestRateOfTheService(t *testing.T) {
	p := paced{&scripted{name: "fcm"}, 7}
	for name, test := range map[string]struct {
		set  map[string]float64
		want pushext.Budget
	}{
		"documented": {nil, pace(7)},
		"set":        {map[string]float64{"fcm": 3}, pace(3)},
		"none":       {map[string]float64{"fcm": -1}, pushext.Budget{}},
	} {
		d := Delivery{Rates: test.set}
		require.Equal(t, test.want, d.pace(p), name)
	}
	d := Delivery{}
	require.Equal(t, pushext.Budget{}, d.pace(p.scripted))
	_, err := Delivery{Rates: map[string]float64{"fcm": math.NaN()}}.WithDefaults()
	require.ErrorIs(t, err, errDelivery)
	_, err = Delivery{Rates: map[string]float64{"fcm": 2 * MaxRate}}.WithDefaults()
	require.ErrorIs(t, err, errDelivery)
}
