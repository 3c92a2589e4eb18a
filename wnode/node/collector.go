package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The less garbage the collector may leave, the more often it runs. While it runs it competes with wake-ups for the
// processors, for tens of milliseconds on a small machine, and it causes most of the wake-ups that the node itself
// delays. So the garbage may be half of the memory in use, or garbageShare of the machine's memory but at most
// maxGarbage, or startGarbage, whichever is most. Go's own rule allows as much garbage as there is memory in use: too
// little for a busy node, and too much for a flooded one. GOMEMLIMIT still holds, and a GOGC in the environment turns
// all of this off.
const (
	// startPercent is GOGC while a node starts, when nearly everything allocated stays. Scanning it again and again, as
	// Go's 100 would, takes a sixth of the time.
	startPercent = 400
	// garbageShare is the part of the memory, of the machine or of the control group, that may always be garbage.
	garbageShare = 16
	// maxGarbage bounds that part, in bytes.
	maxGarbage = 192 << 20
)

// collector sets how often the garbage collector runs.
type collector struct {
	garbage int64 // bytes that may always be garbage
	percent int   // GOGC at the beginning
	limit   int64 // the memory limit at the beginning

	mu    sync.Mutex // guards ended
	ended bool
}

// newCollector begins with startPercent. It returns nil, which does nothing, if the environment sets GOGC.
func newCollector() *collector {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	return &collector{garbage: allowedGarbage(), percent: debug.SetGCPercent(startPercent), limit: debug.SetMemoryLimit(-1)}
}

// allowedGarbage is how much garbage is always allowed on this machine.
func allowedGarbage() int64 {
	memory, err := memlimit.FromSystem()
	if err != nil {
		return 0
	}
	if group, err := memlimit.FromCgroup(); err == nil {
		memory = min(memory, group)
	}
	return int64(min(memory/garbageShare, maxGarbage))
}

// run takes over once a node has started. A memory limit that is set again after each collection decides, not GOGC. When
// memory in use suddenly grows, an old limit means collecting once too often, while a percentage would mean memory
// without a bound.
func (c *collector) run() {
	if c == nil {
		return
	}
	c.adapt()
	debug.SetGCPercent(-1)
	// A finalizer runs after the collection that finds its object unused. It registers itself for the next one.
	type sentinel struct{ _ *byte }
	var collected func(*sentinel)
	collected = func(s *sentinel) {
		if c.adapt() {
			runtime.SetFinalizer(s, collected)
		}
	}
	runtime.SetFinalizer(new(sentinel), collected)
}

// adapt sets the limit from the memory in use, and reports whether run goes on.
func (c *collector) adapt() bool {
	live, other := inUse()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	debug.SetMemoryLimit(min(c.limit, other+limitFor(c.garbage, live)))
	return true
}

// inUse returns the heap in use at the latest collection, and other memory that counts towards the limit: stacks, the
// collector's own, and what is lost between objects. The latter may be more than the garbage.
func inUse() (live, other int64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
	}
	metrics.Read(samples)
	bytes := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return bytes(0), bytes(1) - bytes(2) - bytes(3) - bytes(4)
}

// limitFor is how far the heap may grow, with live bytes in use, before garbage is collected.
func limitFor(garbage, live int64) int64 { return live + max(garbage, live/2, startGarbage) }

// startGarbage is for a nearly empty heap.
const startGarbage = 16 << 20

// stop restores the former settings.
func (c *collector) stop() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	debug.SetGCPercent(c.percent)
	debug.SetMemoryLimit(c.limit)
}
