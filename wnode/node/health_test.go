package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// archiver answers every call with what it is.
type archiver struct{ err error }

func (a *archiver) Archive(_ context.Context, _ []*whisper.Envelope, done func(error)) { done(a.err) }

func TestArchiveHealth(t *testing.T) {
	require.NoError(t, (*archiveHealth)(nil).check(), "a node without an archive is well")
	disk := new(archiver)
	h := &archiveHealth{Archiver: disk}
	full := errors.New("no space left on device")
	for _, step := range []struct{ result, health error }{
		{nil, nil}, {full, full}, {context.Canceled, full}, {nil, nil}, {context.Canceled, nil},
	} {
		disk.err = step.result
		calls := 0
		h.Archive(t.Context(), nil, func(err error) {
			calls++
			require.Equal(t, step.result, err)
		})
		require.Equal(t, 1, calls)
		require.ErrorIs(t, h.check(), step.health)
	}
}

// A disk that has room again is noticed without an envelope, and not asked all the time.
func TestHealthProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("no space left on device")
		probes, result := 0, full
		h := &archiveHealth{Archiver: &archiver{err: full}, probe: func() error { probes++; return result }}
		h.Archive(t.Context(), nil, func(error) {})
		for range 10 {
			require.ErrorIs(t, h.check(), full)
		}
		require.Equal(t, 1, probes)
		result = nil
		require.ErrorIs(t, h.check(), full, "it is not asked more often than that")
		time.Sleep(probeEvery)
		require.NoError(t, h.check())
		require.Equal(t, 2, probes)
	})
}

func TestSetAsideIsSaid(t *testing.T) {
	require.Empty(t, AsideRemark(nil))
	require.Empty(t, new(Node).remark(), "a node without an archive")
	s := &Node{health: &archiveHealth{parts: func() []string { return []string{"p1.damaged"} }}}
	require.Contains(t, s.remark(), "(p1.damaged); stop the node and run wnode recover")
}
