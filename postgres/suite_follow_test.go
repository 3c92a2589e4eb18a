package postgres

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// follower keeps what it is given.
type follower struct {
	cancel context.CancelFunc
	ended  chan error // holds what Follow returned

	mu      sync.Mutex
	records []archive.Record
	more    chan struct{} // holds one
}

func follow(a anArchive, after uint64) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{cancel: cancel, ended: make(chan error, 1), more: make(chan struct{}, 1)}
	go func() {
		f.ended <- a.Follow(ctx, after, func(records []archive.Record) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.records = append(f.records, records...)
			select {
			case f.more <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	return f
}

// wait returns what the follower was given once that is n records.
func (f *follower) wait(t *testing.T, n int) []archive.Record {
	limit := time.After(time.Minute)
	for {
		f.mu.Lock()
		records := f.records
		f.mu.Unlock()
		if len(records) >= n {
			return records
		}
		select {
		case <-f.more:
		case err := <-f.ended:
			t.Fatalf("Follow ended after %d of %d records: %v", len(records), n, err)
		case <-limit:
			t.Fatalf("%d of %d records after a minute", len(records), n)
		}
	}
}

// Whoever follows while others archive is given everything once and in its order.
func followConcurrently(t *testing.T, open opener) {
	a := open.with(t)
	const writers, each = 4, 500
	total := writers * each
	early := follow(a, 0)
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := range uint64(each / 10) {
				var envs []*whisper.Envelope
				for j := range uint64(10) {
					envs = append(envs, envelope(w*each+i*10+j, topicOf(j), 100, 50, 3000))
				}
				if err := archived(a, envs...); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	middle := follow(a, early.wait(t, 100)[99].Seq)
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	late := follow(a, 5)
	for after, f := range map[uint64]*follower{0: early, 100: middle, 5: late} {
		records := f.wait(t, total-int(after))
		require.Equal(t, total-int(after), len(records))
		for i, r := range records {
			require.Equal(t, after+uint64(i)+1, r.Seq)
			require.Equal(t, r.Hash, r.Envelope.Hash())
		}
		f.cancel()
		require.ErrorIs(t, <-f.ended, context.Canceled)
	}
}

// A follower that comes back with its cursor misses nothing and gets nothing twice.
func followAcrossReopen(t *testing.T, open opener) {
	next := uint64(1)
	for round := range uint64(4) {
		a := open.must(t)
		f := follow(a, next-1)
		for n := range uint64(50) {
			require.NoError(t, archived(a, numbered(round*100+n)))
		}
		for _, r := range f.wait(t, 50) {
			require.Equal(t, next, r.Seq)
			next++
		}
		// What is archived while nobody follows comes first the next time.
		f.cancel()
		require.ErrorIs(t, <-f.ended, context.Canceled)
		require.NoError(t, archived(a, numbered(round*100+50)))
		again := follow(a, next-1)
		require.Equal(t, next, again.wait(t, 1)[0].Seq)
		next++
		again.cancel()
		require.ErrorIs(t, <-again.ended, context.Canceled)
		require.NoError(t, a.Close())
	}
}

func followEnds(t *testing.T, open opener) {
	a := open.with(t)
	require.NoError(t, archived(a, numbered(1), numbered(2)))
	stop := errors.New("enough")
	require.ErrorIs(t, a.Follow(t.Context(), 0, func([]archive.Record) error { return stop }), stop)
	var ahead *archive.AheadError
	require.ErrorAs(t, a.Follow(t.Context(), 3, nil), &ahead)
	require.Equal(t, archive.AheadError{After: 3, Newest: 2}, *ahead)
	n, sure := a.Lost(0, 1)
	require.Zero(t, n)
	require.True(t, sure)
	f := follow(a, 2)
	f.cancel()
	require.ErrorIs(t, <-f.ended, context.Canceled)
}
