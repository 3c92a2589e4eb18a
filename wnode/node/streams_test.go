package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A copy is read whole, a part at a time; one whose reader has gone ends, so that others find room; a failure says that
// it is not whole.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams()
		defer s.Close()
		want := bytes.Repeat([]byte("0123456789"), 250_000)
		write := func(_ context.Context, w io.Writer) error {
			_, err := w.Write(want)
			return err
		}
		id, err := s.begin(write)
		require.NoError(t, err)
		var got []byte
		for end := false; !end; {
			var chunk []byte
			chunk, end, err = s.read(id)
			require.NoError(t, err)
			got = append(got, chunk...)
		}
		require.Equal(t, want, got)
		_, _, err = s.read(id)
		require.ErrorContains(t, err, "begin it again")

		broken := errors.New("the disk is broken")
		id, err = s.begin(func(context.Context, io.Writer) error { return broken })
		require.NoError(t, err)
		_, _, err = s.read(id)
		require.ErrorIs(t, err, broken)

		ended := make(chan error, maxStreams)
		for range maxStreams {
			_, err := s.begin(func(ctx context.Context, w io.Writer) error {
				err := write(ctx, w)
				ended <- err
				return err
			})
			require.NoError(t, err)
		}
		_, err = s.begin(write)
		require.ErrorContains(t, err, "4 copies are being made already")
		time.Sleep(streamPatience + time.Second)
		for range maxStreams {
			require.Error(t, <-ended)
		}
		_, err = s.begin(write)
		require.NoError(t, err)
		s.Close()
		_, err = s.begin(write)
		require.ErrorContains(t, err, "the node stops")
	})
}
