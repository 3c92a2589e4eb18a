package wnode

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentFor(t *testing.T) {
	for _, tt := range []struct {
		name       string
		room, live uint64
		want       int
	}{
		{"no room known", 0, 100 << 20, gcPercent},
		{"nothing in use yet", 400 << 20, 0, 9900},
		{"room for more", 640 << 20, 64 << 20, 900},
		{"as much as five times", 500 << 20, 100 << 20, gcPercent},
		{"more in use than a fifth of the room", 640 << 20, 200 << 20, gcPercent},
		{"more in use than room", 640 << 20, 1 << 30, gcPercent},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, percentFor(tt.room, tt.live)) })
	}
}

// TestCollectorAdapts has a heap grow and looks for GOGC, which is put back at the end.
func TestCollectorAdapts(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	c := &collector{room: 1 << 40, before: 100}
	c.run()
	much := percent()
	require.Greater(t, much, gcPercent)

	held := make([]byte, 256<<20) // far more than the heap of a test
	require.Eventually(t, func() bool {
		runtime.GC()
		return percent() < much/2
	}, 10*time.Second, time.Millisecond)
	runtime.KeepAlive(held)

	c.stop()
	require.Equal(t, 100, percent())
	for range 3 { // nor does a later collection change it again
		runtime.GC()
	}
	require.False(t, c.adapt())
	require.Equal(t, 100, percent())
}

func TestCollectorRoom(t *testing.T) {
	room := collectorRoom()
	require.NotZero(t, room)
	require.LessOrEqual(t, room, uint64(maxRoom))
}

func TestCollectorLeavesGOGCAlone(t *testing.T) {
	t.Setenv("GOGC", "150")
	c := newCollector()
	require.Nil(t, c)
	c.run()
	c.stop()
}
