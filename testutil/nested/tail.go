package nested

import (
	"io"
	"sync"
)

// Tail passes on what is written and keeps the end of it, for errors.
type Tail struct {
	To io.Writer // may be nil

	mu   sync.Mutex // guards last
	last []byte
}

// tailSize is enough for the head of a Go panic.
const tailSize = 4096

// Write implements io.Writer.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.last = append(t.last, b...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	t.mu.Unlock()
	if t.To != nil {
		return t.To.Write(b)
	}
	return len(b), nil
}

// String is the end of what was written, on lines of its own, or "".
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == 0 {
		return ""
	}
	return "\n" + string(t.last)
}
