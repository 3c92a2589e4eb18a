package outbox

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	// goleveldb returns its buffers for a second after it is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// opened begins an outbox that rings nobody, on a disk in memory, until the test ends.
func opened(t *testing.T) *Outbox {
	s, err := vault.Open("", bytes.Repeat([]byte{7}, vault.DiskKeySize), durable.Options{Storage: faultstore.New()})
	require.NoError(t, err)
	o, started, err := New(s, Options{TTL: 24 * time.Hour, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.False(t, started)
	require.NoError(t, o.Begin(t.Context(), mute{}))
	ctx, cancel := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() { o.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		writer.Wait()
		require.NoError(t, s.Close())
		time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
	})
	return o
}

// What is remembered is bounded by generations, and each lasts its time.
func TestTwinsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := opened(t)
		count := func() (n int) {
			it := o.store.Scan(prefixTwin)
			defer it.Release()
			for it.Next() {
				n++
			}
			return n
		}
		letter := func(n byte, seq uint64) pushext.Entry {
			return pushext.Entry{Seq: seq, Topic: whisper.Topic{1}, Data: []byte{n}}
		}
		seq := uint64(0)
		told := func(n byte) bool {
			seq++
			known, err := o.Repeated(letter(n, seq))
			require.NoError(t, err)
			require.NoError(t, o.Match(t.Context(), nil, seq, time.Now()))
			time.Sleep(time.Second)
			return known
		}
		var counts []int
		for generation := range byte(5) {
			for n := range byte(3) {
				require.False(t, told(3*generation+n))
			}
			time.Sleep(twinLife - time.Minute)
			require.True(t, told(3*generation), "for its time at least")
			time.Sleep(time.Hour)
			require.NoError(t, o.Sweep(t.Context(), time.Now(), func(registration.ID) bool { return true }))
			counts = append(counts, count())
		}
		require.Equal(t, []int{3, 6, 6, 6, 6}, counts)
		require.False(t, told(0), "forgotten with its generation")
	})
}

// A receipt may come before its envelope; what a device has by another way is no
// receipt for one that is unknown.
func TestReceiptsAheadOfTheirEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := opened(t)
		require.NoError(t, o.Fetched(1, nil, false, common.Hash{1}))
		require.Empty(t, o.early.at, "what is unknown is not remembered")
		require.NoError(t, o.Fetched(1, []common.Hash{{2}}, false))
		now := time.Now()
		require.NoError(t, o.Match(t.Context(), []Match{{ID: 1, Hash: common.Hash{1}, At: now}, {ID: 1, Hash: common.Hash{2}, At: now}}, 1, now))
		s, err := o.Status(1)
		require.NoError(t, err)
		require.Equal(t, 1, s.Unread)
	})
}
