package wnode

import (
	"context"
	"errors"
	"testing"

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
