package pushext

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// However many listen to the same topics, one that registers anew holds up the
// matching as long as if it were alone.
func TestAttackIndexStandsStill(t *testing.T) {
	const devices, topics = 10_000 / scale, 1000
	end := time.Now().Add(time.Hour)
	channels := make([]channel, topics)
	for i := range channels {
		channels[i] = channel{topic: whisper.Topic{byte(i >> 8), byte(i), 3, 4}}
	}
	x, alone := newIndex(), newIndex()
	alone.set(1, end, channels)
	for id := range devices {
		x.set(registrationID(id+1), end, channels)
	}
	took := func(x *index, id registrationID) time.Duration {
		best := time.Hour
		for range 20 { // the machine may be busy
			start := time.Now()
			x.set(id, end, channels)
			best = min(best, time.Since(start))
		}
		return best
	}
	// The oldest, which was at the end of every chain before it was set again.
	crowd, single := time.Hour, took(alone, 1)
	for id := range registrationID(10) {
		start := time.Now()
		x.set(id+1, end, channels)
		crowd = min(crowd, time.Since(start))
	}
	t.Logf("%d registrations with the same %d topics: one of them holds the index for %v, alone for %v", devices, topics, crowd, single)
	require.Less(t, crowd, 30*single+time.Millisecond)
}
