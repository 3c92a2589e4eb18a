package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The collector runs more often the less garbage it may leave. While it runs it competes with
// wake-ups for the processors, for tens of milliseconds on a small machine, and most wake-ups that the node itself makes
// late are those it meets. So there may be half as much garbage as there is memory in use, or garbageShare of the
// machine's memory but at most maxGarbage, whichever is more. Go's own rule is as much as is in use: too little for a node
// that is busy, and too much for one that is flooded. GOMEMLIMIT holds all the same, and whoever sets GOGC has what they set.
const (
	// startPercent is GOGC while a node starts, when nearly all that is allocated stays: to go over it again and again, as
	// Go's 100 would, takes a sixth of the time.
	startPercent = 400
	// garbageShare is the part of the memory, of the machine or of the control group, that may be garbage in any case.
	garbageShare = 16
	// maxGarbage bounds that, in bytes.
	maxGarbage = 192 << 20
)

// collector sets how often the garbage collector runs.
type collector struct {
	garbage int64 // bytes that there may be in any case
	percent int   // GOGC at the beginning
	limit   int64 // the memory limit at the beginning

	mu    sync.Mutex // guards ended
	ended bool
}

// newCollector begins with startPercent. It is nil, which does nothing, if the environment sets GOGC.
func newCollector() *collector {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	return &collector{garbage: allowedGarbage(), percent: debug.SetGCPercent(startPercent), limit: debug.SetMemoryLimit(-1)}
}

// allowedGarbage is how much garbage there may be on this machine in any case.
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

// run takes over once a node has started. It is a limit to memory that decides, not GOGC, set again after each
// collection: where much more is in use all of a sudden, a limit from before means collecting once too often, and a
// percentage would mean memory without a bound.
func (c *collector) run() {
	if c == nil {
		return
	}
	c.adapt()
	debug.SetGCPercent(-1)
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

// adapt sets the limit by what is in use, and reports whether run goes on.
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

// inUse is what of the heap was in use at the latest collection, and other memory that counts towards the limit:
// stacks, the collector's own, and what is lost between objects. There may be more of it than garbage.
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

// limitFor is what the heap may grow to when live bytes are in use, before garbage is collected.
func limitFor(garbage, live int64) int64 { return live + max(garbage, live/2, startGarbage) }

// startGarbage is for a heap that is nearly empty.
const startGarbage = 16 << 20

// stop puts back what was before.
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
