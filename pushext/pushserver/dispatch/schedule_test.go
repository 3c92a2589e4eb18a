package dispatch

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/measure"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
)

func TestBackoffSchedule(t *testing.T) {
	now := time.Unix(1e9, 0)
	for failed, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 32 * time.Second,
		7: time.Minute, 31: time.Minute, 32: time.Minute, 64: time.Minute, math.MaxInt: time.Minute,
	} {
		require.Equal(t, now.Add(want), retryBackoff.Next(now, failed, 0), "after %d", failed)
		require.Equal(t, now.Add(want-want/8), retryBackoff.Next(now, failed, 0.5), "after %d, with jitter", failed)
	}
}

// Whatever the times of the attempts, a budget lets no more pass than a
// burst and its rate.
func TestBudgetProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := pushext.Budget{
			Burst: rapid.IntRange(1, 30).Draw(t, "burst"),
			Every: time.Duration(rapid.IntRange(1, 300).Draw(t, "every")) * time.Second,
		}
		now := time.Unix(1e9, 0)
		var b spacing.Bucket
		var taken []time.Time
		for range rapid.IntRange(1, 200).Draw(t, "attempts") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "pause")) * time.Second)
			wait := b.Wait(now, budget)
			if wait == 0 {
				b.Take(now, budget)
				taken = append(taken, now)
				continue
			}
			if wait > budget.Every {
				t.Fatalf("has to wait %v, longer than %v", wait, budget.Every)
			}
		}
		for i := range taken {
			for j := i; j < len(taken); j++ {
				span := taken[j].Sub(taken[i])
				if n := j - i + 1; n > budget.Burst+int(span/budget.Every) {
					t.Fatalf("%d in %v with %+v", n, span, budget)
				}
			}
		}
	})
}

func TestBreaker(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBreaker(64)
	for range 100 {
		require.False(t, b.failure(now, 1, time.Time{}), "one device alone is not the lane")
	}
	require.Equal(t, 64, b.capacity(now))
	for i := range breakerThreshold - 2 {
		require.False(t, b.failure(now, registration.ID(10+i), time.Time{}))
	}
	require.True(t, b.failure(now, 99, time.Time{}))
	require.Zero(t, b.capacity(now))
	require.False(t, b.failure(now, 100, time.Time{}), "sent before the pause")

	// While waiting wake-ups can still be in time, one is tried every second, and then
	// less and less often.
	opened, want := now, time.Second
	for range 30 {
		pause := b.until.Sub(now)
		require.LessOrEqual(t, pause, want)
		require.GreaterOrEqual(t, pause, want*3/4)
		now = b.until
		require.Equal(t, 1, b.capacity(now), "one probe")
		require.True(t, b.failure(now, 1, time.Time{}))
		if now.Sub(opened) < measure.PromisedLatency {
			want = time.Second
		} else {
			want = min(2*want, time.Minute)
		}
	}
	require.Equal(t, time.Minute, want)
	now = b.until
	for want := 2; want <= 64; want *= 2 {
		b.success()
		require.Equal(t, want, b.capacity(now), "no burst after an outage")
	}
	require.False(t, b.keep().After(now))

	require.True(t, b.pause(now, now.Add(time.Minute)))
	require.False(t, b.pause(now, now.Add(time.Second)), "the later counts")
	require.Zero(t, b.capacity(now.Add(time.Minute-1)))
	require.Equal(t, 1, b.capacity(now.Add(time.Minute)))
	require.True(t, b.pause(now, now.Add(1000*time.Hour)))
	require.Equal(t, now.Add(maxPause), b.until)
	require.True(t, b.pause(b.until, b.until.Add(-time.Hour)), "in the past is an ordinary pause")
	require.True(t, b.pause(b.until, b.until), "so is at once")
	require.True(t, b.pause(b.until, time.Time{}), "without a time it is an ordinary pause")
}

func TestLaneQueue(t *testing.T) {
	l := &lane{}
	jobs := make([]*job, 1000)
	put := func(j *job) {
		j.ticket++
		j.state = queued
		l.push(j)
	}
	for i := range jobs {
		jobs[i] = &job{id: registration.ID(i)}
		put(jobs[i])
	}
	put(jobs[5]) // moved to the end
	jobs[9].state = waiting
	var got []registration.ID
	for j := l.pop(); j != nil; j = l.pop() {
		j.state = flying
		got = append(got, j.id)
	}
	require.Len(t, got, 999)
	require.Equal(t, []registration.ID{0, 1, 2, 3, 4, 6, 7, 8, 10}, got[:9])
	require.Equal(t, registration.ID(5), got[998])
	require.Zero(t, l.waiting())
}

func TestDeliverySettings(t *testing.T) {
	d, err := Delivery{}.WithDefaults()
	require.NoError(t, err)
	require.Equal(t, pushext.Budget{Burst: 20, Every: 10 * time.Second}, d.budget("fcm"))
	require.Equal(t, 30, d.SilentAfter)
	for name, bad := range map[string]Delivery{
		"ttl":         {TTL: -1},
		"concurrency": {Concurrency: -1},
		"budget":      {Budgets: map[string]pushext.Budget{"fcm": {}}},
	} {
		_, err := bad.WithDefaults()
		require.ErrorIs(t, err, errDelivery, name)
	}
}
