package wnode

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// How often the garbage collector runs is a matter of how much garbage may lie about. While it runs it competes with
// wake-ups for the processors, for tens of milliseconds on a small machine, and most wake-ups that take long are those
// it meets. So the heap is collected when it holds five times of what was in use, as in a node that is busy with little
// memory, or roomShare of the machine's memory but at most maxRoom, whichever is more. A memory limit (GOMEMLIMIT) holds
// all the same, and whoever sets GOGC has what he set.
const (
	// gcPercent is GOGC of a node that is in no need of room. At the start, when nearly all that is allocated stays, Go's
	// own 100 would go over it again and again, a sixth of the time.
	gcPercent = 400
	// roomShare is the part of the memory, of the machine or of the control group, that the heap may hold in any case.
	roomShare = 16
	// maxRoom bounds it, in bytes.
	maxRoom = 640 << 20
)

// collector sets how often the garbage collector runs.
type collector struct {
	room   uint64 // bytes that the heap may hold in any case
	before int    // GOGC at the beginning

	mu    sync.Mutex // guards ended
	ended bool
}

// newCollector begins with gcPercent. It is nil, which does nothing, if the environment sets GOGC.
func newCollector() *collector {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	return &collector{room: collectorRoom(), before: debug.SetGCPercent(gcPercent)}
}

// collectorRoom is what the heap may hold on this machine.
func collectorRoom() uint64 {
	memory, err := memlimit.FromSystem()
	if err != nil {
		return 0
	}
	if group, err := memlimit.FromCgroup(); err == nil {
		memory = min(memory, group)
	}
	return min(memory/roomShare, maxRoom)
}

// run lets the heap grow from now on, and adapts to what is in use after each collection.
func (c *collector) run() {
	if c == nil {
		return
	}
	c.adapt()
	// A finalizer runs after the collection that finds its object unused; it asks for the next one.
	type sentinel struct{ _ *byte }
	var collected func(*sentinel)
	collected = func(s *sentinel) {
		if c.adapt() {
			runtime.SetFinalizer(s, collected)
		}
	}
	runtime.SetFinalizer(new(sentinel), collected)
}

// adapt sets GOGC by what is in use, and reports whether run goes on.
func (c *collector) adapt() bool {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	debug.SetGCPercent(percentFor(c.room, live[0].Value.Uint64()))
	return true
}

// percentFor is GOGC with which a heap, of which live bytes are in use, is collected when it holds room bytes or what
// gcPercent allows.
func percentFor(room, live uint64) int {
	live = max(live, 4<<20) // as Go counts no less
	if room <= live {
		return gcPercent
	}
	return max(gcPercent, int(100*(room-live)/live))
}

// stop puts back what was before.
func (c *collector) stop() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	debug.SetGCPercent(c.before)
}
