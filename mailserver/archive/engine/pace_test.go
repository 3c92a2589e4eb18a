package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fsyncTime is how long a commit takes in these tests.
const fsyncTime = 200 * time.Microsecond

// waits drives a writer with a pace for two seconds of its own time, and returns how many
// commits it began in the second one, and how much of that it spent waiting. arrive returns
// how many envelopes come until a time, once those of the last commit were told of it.
func waits(arrive func(until time.Time, committed int) int) (commits int, waited time.Duration) {
	var p Pace
	start := time.Unix(1_000_000, 0)
	now, committed := start, 0
	for now.Sub(start) < 2*time.Second {
		had := arrive(now, committed)
		committed = 0
		if had == 0 {
			now = now.Add(50 * time.Microsecond)
			continue
		}
		wait := p.Wait(now)
		now = now.Add(wait)
		if wait > 0 {
			brought := arrive(now, 0)
			p.Waited(now, wait, brought)
			had += brought
		}
		p.Commit(now, had)
		now = now.Add(fsyncTime)
		committed = had
		if now.Sub(start) > time.Second {
			waited += wait
			commits++
		}
	}
	return commits, waited
}

// random is an arrive at random moments, in bursts of a millisecond as a timer makes them.
func random(rate float64) func(time.Time, int) int {
	choice := rand.New(rand.NewPCG(1, uint64(rate)))
	next := time.Unix(1_000_000, 0)
	return func(until time.Time, _ int) (n int) {
		for ; !next.Truncate(time.Millisecond).Add(time.Millisecond).After(until); n++ {
			next = next.Add(time.Duration(choice.ExpFloat64() * float64(time.Second) / rate))
		}
		return n
	}
}

func TestPaceAtRandomMoments(t *testing.T) {
	for _, rate := range []float64{100, 1000, 2000, 60_000, 200_000} {
		_, waited := waits(random(rate))
		require.Zero(t, waited, "%v a second", rate)
	}
	for _, rate := range []float64{4000, 6000, 10_000, 40_000} {
		commits, waited := waits(random(rate))
		require.Less(t, commits, 350, "%v a second", rate)
		require.Greater(t, waited, 600*time.Millisecond, "%v a second", rate)
	}
}

// TestPaceOfSendersThatWait has senders that wait for a commit before they send the next.
func TestPaceOfSendersThatWait(t *testing.T) {
	for _, senders := range []int{1, 2, 8, 64} {
		free := senders
		_, waited := waits(func(_ time.Time, committed int) (n int) {
			free += committed
			n, free = free, 0
			return n
		})
		require.Less(t, waited, 60*time.Millisecond, "%d senders", senders)
	}
}
