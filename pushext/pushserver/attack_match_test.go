package pushserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/topics"
	"whisperpush/whisper"
)

// However many listen to the same topics, one that registers again holds up the
// matching as long as if it were alone.
func TestAttackIndexStandsStill(t *testing.T) {
	const devices, each = 10_000 / scale, 1000
	end := time.Now().Add(time.Hour)
	channels := make([]registration.Channel, each)
	for i := range channels {
		channels[i] = registration.Channel{Topic: whisper.Topic{byte(i >> 8), byte(i), 3, 4}}
	}
	x, alone := topics.New(), topics.New()
	alone.Set(1, end, channels)
	for id := range devices {
		x.Set(registration.ID(id+1), end, channels)
	}
	took := func(x *topics.Index, id registration.ID) time.Duration {
		best := time.Hour
		for range 20 { // the machine may be busy
			start := time.Now()
			x.Set(id, end, channels)
			best = min(best, time.Since(start))
		}
		return best
	}
	// The oldest, which was at the end of every chain before it was set again.
	crowd, single := time.Hour, took(alone, 1)
	for id := range registration.ID(10) {
		start := time.Now()
		x.Set(id+1, end, channels)
		crowd = min(crowd, time.Since(start))
	}
	t.Logf("%d registrations with the same %d topics: one of them holds the index for %v, alone for %v", devices, each, crowd, single)
	require.Less(t, crowd, 30*single+time.Millisecond)
}
