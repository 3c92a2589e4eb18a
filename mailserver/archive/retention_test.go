package archive

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable/faultstore"
	"whisperpush/whisper"
)

// partitionsOn counts the partitions on disk.
func partitionsOn(disk *faultstore.Disk) (n int) {
	for _, name := range disk.Dirs() {
		if _, ok := parsePartition(name); ok {
			n++
		} else if strings.HasSuffix(name, droppedSuffix) {
			return -1
		}
	}
	return n
}

func TestRetentionDropsWholePartitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := faultstore.NewDisk()
		o := Options{Retention: 32 * time.Minute} // partitions of a minute
		a := openVolume(t, disk, o)
		follower := follow(t, a, 0)
		n := uint64(0)
		for minute := range 60 {
			for range 10 {
				n++
				require.NoError(t, store(a, testEnvelope(n, topicOf(n%3), uint32(time.Now().Unix()), 50, 500)))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			require.LessOrEqual(t, partitionsOn(disk), 36, "minute %d", minute)
		}
		require.Greater(t, partitionsOn(disk), 30)
		records := readAll(t, a)
		require.Equal(t, n, records[len(records)-1].Seq)
		require.Equal(t, a.First(), records[0].Seq)
		require.Greater(t, a.First(), uint64(200))
		require.Less(t, time.Since(records[0].Received), 35*time.Minute)
		for i, r := range records {
			require.Equal(t, a.First()+uint64(i), r.Seq)
		}
		require.Len(t, follower.wait(int(n)), int(n))
		page, err := a.Query(t.Context(), Query{Upper: math.MaxUint32, Topics: []whisper.Topic{topicOf(1)}, Descending: true})
		require.NoError(t, err)
		require.InDelta(t, len(records)/3, len(page.Records), 1)

		var gap *GapError
		require.ErrorAs(t, a.Follow(t.Context(), 5, nil), &gap)
		require.Equal(t, GapError{After: 5, Oldest: a.First()}, *gap)
		late := follow(t, a, a.First()-1)
		require.Len(t, late.wait(len(records)), len(records))

		// A restart finds the same.
		first := a.First()
		require.NoError(t, a.Close())
		follower.stopped(ErrClosed)
		late.stopped(ErrClosed)
		a = openVolume(t, disk, o)
		require.Empty(t, a.Damage())
		require.Equal(t, first, a.First())
		require.Equal(t, hashes(records), hashes(readAll(t, a)))
		require.NoError(t, a.Close())
	})
}

func TestRetentionKeepsWhatIsNotExpired(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := faultstore.NewDisk()
		a := openVolume(t, disk, Options{Retention: 32 * time.Minute})
		long := testEnvelope(0, topicOf(1), uint32(time.Now().Unix()), 2*3600, 100)
		require.NoError(t, store(a, long))
		for i := range uint64(23) {
			time.Sleep(5 * time.Minute)
			require.NoError(t, store(a, numbered(i+1)))
		}
		synctest.Wait()
		require.Equal(t, uint64(1), a.First(), "the envelope lives two hours")
		for i := range uint64(5) {
			time.Sleep(5 * time.Minute)
			require.NoError(t, store(a, numbered(1000+i)))
		}
		synctest.Wait()
		require.Greater(t, a.First(), uint64(15), "it has expired, and what it kept with it")
		require.NoError(t, a.Close())
	})
}

func TestRetentionDoesNotBelieveAClockThatWouldWipeEverything(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := faultstore.NewDisk()
		o := Options{Retention: 32 * time.Minute}
		a := openVolume(t, disk, o)
		for i := range uint64(5) {
			require.NoError(t, store(a, numbered(i)))
			time.Sleep(time.Minute + time.Second)
		}
		require.NoError(t, a.Close())
		time.Sleep(10 * 365 * 24 * time.Hour) // as the clock says
		a = openVolume(t, disk, o)
		time.Sleep(wipeDelay / 2)
		synctest.Wait()
		require.Equal(t, uint64(1), a.First())
		require.Len(t, readAll(t, a), 5)
		time.Sleep(wipeDelay)
		synctest.Wait()
		require.Greater(t, a.First(), uint64(4), "it was right")
		require.Equal(t, uint64(5), a.Last())
		require.NoError(t, store(a, numbered(100)))
		require.Equal(t, uint64(6), a.Last())
		require.NoError(t, a.Close())
		a = openVolume(t, disk, o)
		require.Equal(t, uint64(6), a.Last())
		require.NoError(t, a.Close())
	})
}

func TestSizeLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := faultstore.NewDisk()
		o := Options{Retention: -1, MaxBytes: 2 << 20}
		a := openVolume(t, disk, o)
		n := uint64(0)
		put := func(ttl uint32) error {
			n++
			return store(a, testEnvelope(n, topicOf(1), uint32(time.Now().Unix()), ttl, 32<<10))
		}
		for range 300 {
			require.NoError(t, put(5))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.Greater(t, a.First(), uint64(200))
		require.Less(t, disk.Used(), int64(2*o.MaxBytes), "the disk is given back")
		require.Len(t, readAll(t, a), int(a.Last()-a.First()+1))

		// Nothing that lives is dropped: new envelopes are refused.
		var err error
		for range 300 {
			if err = put(365 * 24 * 3600); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		require.ErrorIs(t, err, ErrFull)
		require.NoError(t, a.Close())
	})
}

// TestReadersKeepADroppedPartition: a partition that is being read when retention
// drops it is deleted after its reader is done.
func TestReadersKeepADroppedPartition(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := faultstore.NewDisk()
		a := openVolume(t, disk, Options{Retention: 32 * time.Minute})
		first := numbered(1)
		require.NoError(t, store(a, first))
		segments, release, err := a.segments()
		require.NoError(t, err)
		for i := range uint64(40) {
			time.Sleep(time.Minute)
			require.NoError(t, store(a, numbered(2+i)))
		}
		synctest.Wait()
		require.Greater(t, a.First(), uint64(1))
		r, ok, err := a.find(segments, first.Hash(), 1)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, uint64(1), r.Seq)
		require.Equal(t, -1, partitionsOn(disk), "still there")
		release()
		require.NotEqual(t, -1, partitionsOn(disk))
		require.NoError(t, a.Close())
	})
}
