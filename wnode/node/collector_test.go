package node

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimitFor(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name                string
		garbage, live, want int64
	}{
		{"a small machine, and little in use", 0, 2 * mib, 18 * mib},
		{"a small machine, and much in use", 32 * mib, 100 * mib, 150 * mib},
		{"little in use", 384 * mib, 20 * mib, 404 * mib},
		{"much in use", 384 * mib, 300 * mib, 684 * mib},
		{"very much in use", 384 * mib, 2048 * mib, 3072 * mib},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, limitFor(tt.garbage, tt.live)) })
	}
}

// TestCollectorAdapts has a heap grow, and looks for the limit; all is put back at the end.
func TestCollectorAdapts(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	current := func() int64 { return debug.SetMemoryLimit(-1) }

	c := newCollector()
	require.NotNil(t, c)
	require.Equal(t, int64(math.MaxInt64), current(), "no limit while a node starts")
	c.run()
	before := current()
	require.Less(t, before, int64(math.MaxInt64))

	held := make([]byte, 1<<30)
	require.Eventually(t, func() bool {
		runtime.GC()
		return current() > before+int64(len(held))/2
	}, 10*time.Second, time.Millisecond, "more in use")
	runtime.KeepAlive(held)

	c.stop()
	require.False(t, c.adapt())
	for range 3 { // nor does a later collection change it again
		runtime.GC()
	}
	require.Equal(t, int64(math.MaxInt64), current())
	require.Equal(t, 100, debug.SetGCPercent(100))
}

// TestCollectorKeepsGOMEMLIMIT: the operator's limit is never exceeded.
func TestCollectorKeepsGOMEMLIMIT(t *testing.T) {
	const asked = 64 << 20
	limit := debug.SetMemoryLimit(asked)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })
	c := newCollector()
	c.garbage = 1 << 40
	c.run()
	defer c.stop()
	require.Equal(t, int64(asked), debug.SetMemoryLimit(-1))
}

func TestAllowedGarbage(t *testing.T) {
	garbage := allowedGarbage()
	require.NotZero(t, garbage)
	require.LessOrEqual(t, garbage, int64(maxGarbage))
}

func TestCollectorLeavesGOGCAlone(t *testing.T) {
	t.Setenv("GOGC", "150")
	c := newCollector()
	require.Nil(t, c)
	c.run()
	c.stop()
}
