package door

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// Fewer places have the oldest of the greediest give way, and a registration that proved itself stays; more let others in.
func TestResizeSeats(t *testing.T) {
	s := newSeats(8, prometheus.NewCounter(prometheus.CounterOpts{Name: "x"}))
	left := map[string]int{}
	take := func(name, source string) *seat { return s.take(whisper.Source(source), func() { left[name]++ }) }
	s.prove(take("proven", "a"))
	for _, name := range []string{"1", "2", "3"} {
		take(name, "greedy")
	}
	take("alone", "b")
	s.resize(8)
	require.Empty(t, left)
	s.resize(3)
	require.Equal(t, map[string]int{"1": 1, "2": 1}, left)
	require.Equal(t, 3, s.count())
	s.resize(1)
	require.Equal(t, 1, s.count())
	s.resize(2)
	take("more", "c")
	require.Equal(t, 2, s.count())
	for name, times := range left {
		require.Equal(t, 1, times, name)
	}
}
