package attempt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/clocktest"
)

func TestStepped(t *testing.T) {
	then := time.Now()
	for _, passed := range []time.Duration{0, time.Minute, 24 * time.Hour} {
		now := then.Add(passed)
		require.False(t, Stepped(then, now))
		for _, by := range []time.Duration{time.Second, clockStep, -clockStep} {
			require.False(t, Stepped(then, clocktest.Set(now, by)), "%v after %v", by, passed)
		}
		for _, by := range []time.Duration{clockStep + time.Second, -clockStep - time.Second, 3 * time.Hour, -3 * time.Hour, 1000 * time.Hour} {
			require.True(t, Stepped(then, clocktest.Set(now, by)), "%v after %v", by, passed)
		}
	}
}
