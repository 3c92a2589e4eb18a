package dispatch

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
)

// distance is the Kolmogorov-Smirnov distance of samples in [0, 1] from the
// uniform distribution, times √n. For that distribution it is above 3.3 once in
// a thousand million runs.
func distance(samples []float64) float64 {
	slices.Sort(samples)
	n, worst := float64(len(samples)), 0.0
	for i, s := range samples {
		worst = max(worst, math.Abs(float64(i)/n-s), math.Abs(float64(i+1)/n-s))
	}
	return worst * math.Sqrt(n)
}

// blurred archives an envelope for each of many devices at once, and returns
// how long each wake-up took.
func blurred(t *testing.T, cfg Delivery, devices int) (delays []time.Duration) {
	p := &scripted{name: "fcm"}
	r := newRig(t, cfg, p)
	for id := range registration.ID(devices) {
		r.device(id+1, fmt.Sprintf("fcm %d", id+1))
	}
	r.start()
	defer r.stop()
	begin := time.Now()
	for id := range registration.ID(devices) {
		r.log.Archive(topicOf(id + 1))
	}
	time.Sleep(time.Hour)
	for _, one := range p.all() {
		delays = append(delays, one.At.Sub(begin))
	}
	require.Len(t, delays, devices)
	return delays
}

func TestJitterIsUniform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 500
		for _, delay := range blurred(t, Delivery{}, devices) {
			require.Zero(t, delay, "off by default")
		}
		var samples []float64
		for _, delay := range blurred(t, Delivery{Jitter: 8 * time.Second}, devices) {
			require.Less(t, delay, 8*time.Second)
			samples = append(samples, float64(delay)/float64(8*time.Second))
		}
		require.Less(t, distance(samples), 3.3)
	})
}

// With a batch, the time of a wake-up tells in which window its envelope was
// archived, and nothing of when in it.
func TestBatchLeavesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{Batch: 10 * time.Second}, p)
		var topics [][4]byte
		for id := range registration.ID(20) {
			topics = append(topics, r.device(id+1, fmt.Sprintf("fcm %d", id+1)))
		}
		r.start()
		defer r.stop()
		window := func() { time.Sleep(time.Until(time.Now().Truncate(10 * time.Second).Add(10 * time.Second))) }
		window()
		begin := time.Now()
		for _, topic := range topics {
			r.log.Archive(topic)
			time.Sleep(450 * time.Millisecond)
		}
		r.log.Archive(topics[0]) // coalesced
		synctest.Wait()
		require.Empty(t, p.all())
		time.Sleep(time.Hour)
		require.Len(t, p.all(), 20)
		for _, one := range p.all() {
			require.Equal(t, begin.Add(10*time.Second), one.At)
		}
		require.Len(t, p.to("1")[0].Payload.Hashes, 2)

		// The next waits again; a fetch meanwhile neither hurries nor costs it,
		// and what was fetched is not pushed.
		window()
		first := p.to("2")[0].Payload.Hashes
		hash := r.log.Archive(topics[1])
		time.Sleep(time.Second)
		require.NoError(t, r.box.Fetched(2, first, false))
		synctest.Wait()
		require.Len(t, p.to("2"), 1)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		require.Len(t, p.to("2"), 2)
		require.Equal(t, []common.Hash{hash}, p.to("2")[1].Payload.Hashes)
		hash = r.log.Archive(topics[2])
		require.NoError(t, r.box.Fetched(3, append(p.to("3")[0].Payload.Hashes, hash), false))
		time.Sleep(time.Minute)
		require.Len(t, p.to("3"), 1)
	})
}
