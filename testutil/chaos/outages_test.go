//go:build linux

package chaos

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// outages is when the database was away. Its methods may be called concurrently.
type outages struct {
	mu    sync.Mutex // guards the following fields
	spans []span
	since time.Time // it is away; zero: it is there
}

type span struct{ from, to time.Time }

func (o *outages) begin(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since = at
}

func (o *outages) end(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spans = append(o.spans, span{o.since, at})
	o.since = time.Time{}
}

// all are the outages, with what there is at a time of one that has not ended.
func (o *outages) all(now time.Time) []span {
	o.mu.Lock()
	defer o.mu.Unlock()
	spans := append([]span{}, o.spans...)
	if !o.since.IsZero() {
		spans = append(spans, span{o.since, now})
	}
	return spans
}

// excuse tells whether the database was away meanwhile, and what ended at to came in time
// after that.
func (o *outages) excuse(from, to time.Time) bool {
	for _, s := range o.all(to) {
		if from.Before(s.to) && to.Before(s.to.Add(promised)) && to.After(s.from) {
			return true
		}
	}
	return false
}

// served is how much of the time between two the database was there, and had been for as
// long as everything may take to go on after an outage.
func (o *outages) served(from, to time.Time) time.Duration {
	served, at := time.Duration(0), from
	for _, s := range o.all(to) { // in their order
		if s.from.After(to) {
			break
		}
		served += max(0, s.from.Sub(at))
		if back := s.to.Add(promised); back.After(at) {
			at = back
		}
	}
	return served + max(0, to.Sub(at))
}

func TestOutages(t *testing.T) {
	began := time.Now()
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	var o outages
	require.Equal(t, 100*time.Second, o.served(at(0), at(100)))
	o.begin(at(10))
	require.Equal(t, 10*time.Second, o.served(at(0), at(100)), "it is away still")
	require.True(t, o.excuse(at(20), at(90)))
	o.end(at(20))
	require.Equal(t, 10*time.Second, o.served(at(0), at(30)))
	require.Equal(t, 15*time.Second, o.served(at(0), at(40)), "it has %v to go on", promised)
	require.Zero(t, o.served(at(12), at(30)))
	require.True(t, o.excuse(at(5), at(34)))
	require.False(t, o.excuse(at(5), at(36)), "too late after its return")
	require.False(t, o.excuse(at(21), at(34)), "it came when the database was back")
	o.begin(at(30))
	o.end(at(31))
	require.Equal(t, 14*time.Second, o.served(at(0), at(50)), "it is away again before everything goes on")
}
