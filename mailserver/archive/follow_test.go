package archive

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable/faultstore"
	"whisperpush/whisper"
)

func TestFollowUnderConcurrentWrites(t *testing.T) {
	noLeaks(t)
	a, err := Open(t.TempDir(), Options{runRecords: 500})
	require.NoError(t, err)
	const writers, each = 4, 1000
	total := writers * each
	early := follow(t, a, 0)
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := range uint64(each / 10) {
				var envs []*whisper.Envelope
				for j := range uint64(10) {
					envs = append(envs, testEnvelope(w*each+i*10+j, topicOf(j), 100, 50, 3000))
				}
				require.NoError(t, store(a, envs...))
			}
		})
	}
	middle := follow(t, a, early.wait(100)[99].Seq)
	wg.Wait()
	// The log is larger than its tail in memory: this one reads it from disk.
	late := follow(t, a, 5)
	for after, f := range map[uint64]*follower{0: early, 100: middle, 5: late} {
		records := f.wait(total - int(after))
		require.Len(t, records, total-int(after))
		for i, r := range records {
			require.Equal(t, after+uint64(i)+1, r.Seq)
			require.Equal(t, r.Hash, r.Envelope.Hash())
		}
	}
	require.NoError(t, a.Close())
	for _, f := range []*follower{early, middle, late} {
		f.stopped(ErrClosed)
	}
}

func TestFollowEnds(t *testing.T) {
	noLeaks(t)
	a, err := Open(t.TempDir(), Options{})
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, store(a, numbered(1), numbered(2)))
	stop := errors.New("enough")
	require.ErrorIs(t, a.Follow(t.Context(), 0, func([]Record) error { return stop }), stop)
	var ahead *AheadError
	require.ErrorAs(t, a.Follow(t.Context(), 3, nil), &ahead)
	require.Equal(t, AheadError{After: 3, Newest: 2}, *ahead)
	f := follow(t, a, 2)
	f.cancel()
	f.stopped(context.Canceled)
}

// inBubble runs f with a fake clock and waits for goleveldb's last goroutines.
func inBubble(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(5 * time.Second)
	})
}

func openVolume(t *testing.T, disk *faultstore.Disk, o Options) *Archive {
	o.volume = memVolume{disk}
	if o.runRecords == 0 {
		o.runRecords = 64
	}
	a, err := Open("mem", o)
	require.NoError(t, err)
	return a
}
