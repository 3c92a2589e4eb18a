package wnode

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// trace prints events, one line each with the milliseconds since it began.
type trace struct {
	began time.Time

	mu sync.Mutex // guards w
	w  io.Writer
}

func newTrace(w io.Writer) *trace { return &trace{began: time.Now(), w: w} }

// line prints who did what.
func (t *trace) line(who, what string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%6d ms  %-13s %s\n", time.Since(t.began).Milliseconds(), who, fmt.Sprintf(what, args...))
}
