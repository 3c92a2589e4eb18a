package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

func TestQueue(t *testing.T) {
	closed := errors.New("closed")
	q := NewQueue(600, closed)
	told := make(map[string]error)
	offer := func(ctx context.Context, name string) {
		q.Offer(ctx, []*whisper.Envelope{new(whisper.Envelope)}, func(err error) {
			require.NotContains(t, told, name, "once")
			told[name] = err
		})
	}
	for _, name := range []string{"a", "b"} { // 256 each
		offer(t.Context(), name)
	}
	full, cancel := context.WithCancel(t.Context())
	cancel()
	offer(full, "c")
	require.ErrorIs(t, told["c"], context.Canceled)

	<-q.Wake()
	first, stopping := q.Take(func(s Submission) bool { return s.Weight > 0 && len(told) == 2 })
	require.Empty(t, first, "none fits")
	require.False(t, stopping)
	n := 0
	first, _ = q.Take(func(Submission) bool { n++; return n == 1 })
	require.Len(t, first, 1)
	q.End(first, nil)
	require.NoError(t, told["a"])
	require.Contains(t, told, "a")
	q.Nudge()
	require.False(t, q.Stop())
	require.True(t, q.Stop())
	q.Nudge()
	offer(t.Context(), "d") // for which there is room again
	require.ErrorIs(t, told["d"], closed)
	rest, stopping := q.Take(nil)
	require.Len(t, rest, 2, "what came before the stop: b and a nudge")
	require.True(t, stopping)
	q.End(rest, closed)
	require.ErrorIs(t, told["b"], closed)
	require.Len(t, told, 4)
}
