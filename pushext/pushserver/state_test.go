package pushserver

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/whisper"
)

// The push database is tried with a real record, and a disk that takes none is told; the place in the archive is that of
// the latest envelope.
func TestServerState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Limits{})
		defer b.stop()
		require.NoError(t, b.ext.Probe())
		require.NoError(t, b.ext.Probe(), "again")
		before := b.ext.Position()
		b.envelope(whisper.Topic{1})
		require.Equal(t, before+1, b.ext.Position())
		require.Equal(t, b.archive.Last(), b.ext.Position())

		full := errors.New("no space left on device")
		b.disk.Disk().SetFault(func(faultstore.Op) error { return full })
		require.ErrorIs(t, b.ext.Probe(), durable.ErrWrite)
		b.disk.Disk().SetFault(nil)
	})
}
