package whisper

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBudget(t *testing.T) {
	now := time.Unix(1000, 0)
	off := newBudget(0, now)
	require.Zero(t, off.spend(1<<40, now))

	b := newBudget(100, now)
	require.Zero(t, b.spend(100, now), "a second's worth is saved up")
	require.Equal(t, time.Second, b.spend(100, now))
	require.Zero(t, b.spend(50, now.Add(1500*time.Millisecond)))
	require.Zero(t, b.spend(100, now.Add(time.Hour)), "no more than a second's worth is saved up")
	require.Equal(t, 10*time.Millisecond, b.spend(1, now.Add(time.Hour)))
	require.Equal(t, maxThrottle, b.spend(1<<40, now.Add(time.Hour)))
	require.Equal(t, maxThrottle, b.spend(0, now.Add(-time.Hour)), "a clock that goes back neither pays nor costs")
}

func TestKnownSetIsBoundedAndForgets(t *testing.T) {
	numbered := func(i uint64) *Envelope {
		e := new(Envelope)
		binary.LittleEndian.PutUint64(e.hash[:], i)
		return e
	}
	now := time.Unix(1000, 0)
	var k knownSet
	for i := range uint64(3 * knownEnvelopes) {
		require.True(t, k.first(numbered(i), now))
	}
	require.LessOrEqual(t, len(k.young)+len(k.former), 2*knownEnvelopes)
	require.False(t, k.first(numbered(3*knownEnvelopes-1), now))
	require.True(t, k.first(numbered(0), now), "the oldest were forgotten")

	for range 3 {
		now = now.Add(knownLife)
		k.age(now)
	}
	require.Nil(t, k.young)
	require.Nil(t, k.former)
	require.True(t, k.first(numbered(3*knownEnvelopes-1), now))
}

func TestRelayQueueLetsTheOldestGo(t *testing.T) {
	var q relayQueue
	all := newWants(0, FullBloom())
	e := craft(t, 2, 1, Topic{}, make([]byte, 1<<20))
	batch := make([]weighed, 10)
	for i := range batch {
		batch[i].Envelope = e
	}
	total := 0
	for range 10 {
		_, dropped := q.add(batch, all, time.Time{})
		total += dropped
	}
	require.LessOrEqual(t, q.bytes, relayQueueBytes)
	require.Equal(t, 100, total+q.len())
	taken := q.take(nil)
	require.Len(t, taken, 100-total)
	require.Zero(t, q.len())
	require.Nil(t, q.take(taken))
}
