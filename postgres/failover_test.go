package postgres

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/testutil/genuinepostgres"
	"whisperpush/whisper"
)

// The primary is killed in the midst of writing and its synchronous standby takes over:
// nothing that was acknowledged is lost, nothing is there twice, a follower misses
// nothing, and whoever has a store goes on with it.
func TestStandbyTakesOver(t *testing.T) {
	if noServer != nil {
		t.Skip(noServer)
	}
	primary, err := genuinepostgres.Start(background)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, primary.Stop()) })
	address, err := primary.Database(background)
	require.NoError(t, err)
	standby, err := primary.Standby(background)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop()) })
	// Both are in the URL; that which takes writes is meant.
	address = strings.Replace(address, primary.Addr(), primary.Addr()+","+standby.Addr(), 1) + "&target_session_attrs=read-write"

	d := opened(t, address, Options{Patience: time.Minute})
	a := opensArchive(t, d, ArchiveOptions{})
	s := store(t, d, "push")
	const writers, each = 4, 100
	var envs []*whisper.Envelope
	for n := range uint64(writers * each) {
		envs = append(envs, numbered(n))
	}
	followed := make(chan error, 1)
	go func() {
		next := uint64(1)
		followed <- a.Follow(t.Context(), 0, func(records []archive.Record) error {
			for _, r := range records {
				if r.Seq != next {
					return fmt.Errorf("sequence %d, not %d", r.Seq, next)
				}
				next++
			}
			if next > writers*each {
				return errEnough
			}
			return nil
		})
	}()
	var done atomic.Int64
	errs := make(chan error, writers)
	halfway := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				err := archived(a, envs[w*each+n])
				if err == nil {
					err = s.Write(put(fmt.Sprintf("%d-%d", w, n), "value"))
				}
				if err != nil {
					errs <- err
					return
				}
				if done.Add(1) == writers*each/2 {
					close(halfway)
				}
			}
		})
	}
	<-halfway
	require.NoError(t, primary.Kill())
	require.NoError(t, standby.Promote(background))
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.ErrorIs(t, <-followed, errEnough)
	requireWhole(t, a, writers*each)
	n := 0
	it := s.Scan(nil, nil)
	for it.Next() {
		n++
	}
	require.NoError(t, it.Release())
	require.Equal(t, writers*each, n)
}
