package dispatch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/whisper"
)

// A topic with 10,000 registrations is flooded with 1000 envelopes a second. No
// device is woken more often than its budget and the silence allow, and one that
// listens to a quiet topic is woken as if nothing were going on, although all go
// through the same push service, which takes its time.
func TestFloodedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, seconds, attempt, silent = 10_000 / fewer, 2, 50 * time.Millisecond, 1
		p := &scripted{name: "fcm"}
		p.set(func(context.Context, pushext.Notification) pushext.Verdict {
			time.Sleep(attempt)
			return pushext.Verdict{Class: pushext.Delivered}
		})
		r := newRig(t, Delivery{SilentAfter: silent, Budget: pushext.Budget{Burst: 2, Every: 5 * time.Second}}, p)
		flooded := crowded(r, devices)
		quiet := r.device(devices+1, "fcm quiet")
		r.start()
		defer r.stop()
		var archived []time.Time
		for range seconds {
			for tick := range 10 {
				if tick == 5 {
					hash := r.log.Archive(quiet)
					archived = append(archived, time.Now())
					// It is in use, so it fetches within the second.
					time.AfterFunc(400*time.Millisecond, func() { _ = r.box.Fetched(devices+1, []common.Hash{hash}, false) })
				}
				for range 100 {
					r.log.Archive(flooded)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		got := p.to("quiet")
		require.Len(t, got, len(archived))
		for i, one := range got {
			// A slot gets free within one attempt, and the own one takes another.
			require.LessOrEqual(t, one.At.Sub(archived[i]), 3*attempt)
		}
		time.Sleep(10 * time.Minute)
		pushes := make(map[string]int)
		for _, one := range p.all() {
			pushes[one.Address.Token]++
		}
		require.Len(t, pushes, devices+1, "nobody was starved")
		delete(pushes, "quiet")
		for token, n := range pushes {
			require.LessOrEqual(t, n, silent, token)
		}
		record, err := r.store.Get(outbox.Key(77))
		require.NoError(t, err)
		require.Equal(t, byte(1), record[1], "what was left out is to be told of")
		require.Positive(t, outcomes(r, "overflow", "crowd"))
		require.Equal(t, r.log.Last(), r.box.Position(), "all of the log is dealt with")
	})
}

// crowded adds so many devices that listen to one topic.
func crowded(r *rig, devices int) whisper.Topic {
	topic := whisper.Topic{0xff, 0xff, 0xff, 0xff}
	for id := registration.ID(1); id <= registration.ID(devices); id++ {
		r.device(id, fmt.Sprintf("fcm token-%d", id))
		r.dir.topic[topic] = append(r.dir.topic[topic], id)
	}
	return topic
}

// One envelope wakes no more registrations than the cap, and what is left out is
// counted.
func TestFanOutIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{FanOut: 300}, p)
		topic := crowded(r, 1000)
		r.start()
		defer r.stop()
		r.log.Archive(topic)
		time.Sleep(time.Minute)
		require.Len(t, p.all(), 300)
		require.Equal(t, 700.0, outcomes(r, "overflow", "fan_out"))
		r.log.Archive(topic)
		time.Sleep(time.Minute)
		tokens := make(map[string]bool)
		for _, one := range p.all() {
			tokens[one.Address.Token] = true
		}
		require.Greater(t, len(tokens), 400, "it is not always the same who are left out") // 510 on average
	})
}

// A crash before a crowd is dealt with costs no device its wake-up, and the cursor
// does not pass envelopes that wait.
func TestCrowdSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := crowded(r, 1000)
		quiet := r.device(1001, "fcm quiet")
		r.start()
		first := r.log.Archive(topic)
		synctest.Wait()
		require.Len(t, p.all(), 1000)
		second := r.log.Archive(topic) // waits for the next round
		r.log.Archive(quiet)
		synctest.Wait()
		require.Len(t, p.to("quiet"), 1, "is not held up")
		require.Equal(t, uint64(1), r.box.Position())
		r.stop()
		r.start()
		defer r.stop()
		time.Sleep(time.Minute)
		require.Equal(t, uint64(3), r.box.Position())
		got := p.to("token-500")
		require.Len(t, got, 2)
		require.Contains(t, got[1].Payload.Hashes, first)
		require.Contains(t, got[1].Payload.Hashes, second)
	})
}

// Who is alone goes first, and a crowd gets its turn.
func TestCrowdTurns(t *testing.T) {
	l := &lane{}
	for i := range 8 {
		l.push(&job{id: registration.ID(i), state: queued})
		l.push(&job{id: registration.ID(100 + i), state: queued, crowd: true})
	}
	var order []registration.ID
	for j := l.pop(); j != nil; j = l.pop() {
		order = append(order, j.id)
	}
	require.Equal(t, []registration.ID{0, 1, 2, 100, 3, 4, 5, 101, 6, 7, 102, 103, 104, 105, 106, 107}, order)
	require.Zero(t, l.waiting())
}
