package pushserver

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
)

func TestFollowerGoesOnAtTheOldestAfterAGap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		r.log.archive(topic)
		synctest.Wait()
		r.stop()
		for range 10 {
			r.log.archive(topic)
		}
		r.log.oldest = 8 // 2 to 7 fell out of the archive
		r.start()
		defer r.stop()
		synctest.Wait()
		got := p.all()
		require.Len(t, got, 2)
		require.Len(t, got[1].Payload.Hashes, 1+4)
		require.Equal(t, 1.0, r.metric("log_gaps_total"))
		require.Equal(t, 6.0, r.metric("log_missed_envelopes_total"))
		require.Contains(t, r.out.String(), "dropped from the archive before they were matched")
	})
}

// TestFollowerMeetsAHole: a part in the midst of the log is lost. What of it was an
// envelope's is counted, once however often it is read.
func TestFollowerMeetsAHole(t *testing.T) {
	for _, tt := range []struct {
		name         string
		unused       uint64
		unsure       bool
		gaps, missed float64
	}{
		{"all were envelopes", 0, false, 1, 5},
		{"some were", 4, false, 1, 2},
		{"none was", 6, false, 0, 0},
		{"nobody knows", 6, true, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := &scripted{name: "fcm"}
				r := newRig(t, Delivery{}, p)
				topic := r.device(1, "fcm token-1")
				for range 8 {
					r.log.archive(topic)
				}
				r.log.hole, r.log.unused, r.log.unsure = [2]uint64{2, 6}, tt.unused, tt.unsure
				s, err := vault.Open("", testKey, durable.Options{Storage: r.disk})
				require.NoError(t, err)
				var b durable.Batch
				b.Put(keyCursor, binary.BigEndian.AppendUint64(nil, 0))
				require.NoError(t, s.Write(&b))
				require.NoError(t, s.Close())
				r.start()
				synctest.Wait()
				require.Equal(t, uint64(8), r.box.position())
				require.Len(t, p.all()[0].Payload.Hashes, 3)
				require.Equal(t, tt.gaps, r.metric("log_gaps_total"))
				require.Equal(t, tt.missed, r.metric("log_missed_envelopes_total"))
				require.Equal(t, 8.0, r.metric("cursor"))

				r.log.mu.Lock()
				r.log.broken = errors.New("disk")
				close(r.log.grown)
				r.log.grown = make(chan struct{})
				r.log.mu.Unlock()
				time.Sleep(time.Minute)
				r.stop()
				require.Equal(t, tt.missed, r.metric("log_missed_envelopes_total"))
				require.Equal(t, tt.unsure, strings.Contains(r.out.String(), "may have held"))
			})
		})
	}
}

func TestFollowerOfAnArchiveThatWasReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		for range 5 {
			r.log.archive(topic)
		}
		synctest.Wait()
		r.stop()
		n := len(p.all())
		r.log = newMemLog()
		r.start()
		defer r.stop()
		synctest.Wait()
		require.Contains(t, r.out.String(), "it was replaced")
		r.log.archive(r.device(2, "fcm token-2"))
		synctest.Wait()
		require.Len(t, p.all(), n+1)
	})
}

// After a recovery the archive has again, under new sequences, what was matched
// before: it wakes nobody, what was not matched does, and so does what comes.
func TestFollowerPassesOverWhatWasArchivedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		for range 5 {
			r.log.archive(topic)
			time.Sleep(time.Second)
		}
		n := len(p.all())
		r.stop()
		late := r.log.archive(topic) // 6, which nobody has matched

		move := func(old []uint64, first uint64) {
			s, err := vault.Open("", testKey, durable.Options{Storage: r.disk})
			require.NoError(t, err)
			m, err := newMoves(s)
			require.NoError(t, err)
			require.NoError(t, m.Add(old, first))
			require.NoError(t, m.Close())
			time.Sleep(2 * time.Second)
			for range old {
				r.log.archive(topic)
			}
		}
		move([]uint64{1, 2}, 7)
		move([]uint64{4, 5, 6}, 9) // to 11
		move([]uint64{7, 8}, 12)   // damaged once more, before the node ran
		r.start()
		time.Sleep(time.Minute)
		got := p.all()[n:]
		require.Len(t, got, 1)
		named := got[0].Payload.Hashes
		require.Subset(t, named, []common.Hash{late, testHash(11)})
		for _, again := range []uint64{7, 8, 9, 10, 12, 13} {
			require.NotContains(t, named, testHash(again))
		}
		require.Equal(t, uint64(13), r.box.position())
		after := r.log.archive(topic)
		time.Sleep(time.Minute)
		require.Equal(t, after, p.all()[n+1].Payload.Hashes[0])
		r.stop()

		// Another archive has other envelopes under those sequences.
		move([]uint64{1, 2, 3}, 15)
		r.log = newMemLog()
		r.log.archive(topic)
		r.start()
		synctest.Wait()
		for range 20 {
			r.log.archive(topic)
		}
		time.Sleep(time.Hour)
		require.Equal(t, uint64(21), r.box.position())
		require.Equal(t, 20.0-7, r.metric("matches_total"), "7 of them have hashes that wait already")
		r.stop()
	})
}

// An envelope that everybody listens to takes several batches, and a crash
// between them costs nobody his wake-up.
func TestFanOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const devices = maxFanOut + 100
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token")
		for id := registration.ID(2); id <= devices; id++ {
			r.device(id, "fcm token")
			r.dir.topic[topic] = append(r.dir.topic[topic], id)
		}
		r.start()
		defer r.stop()
		r.log.archive(topic)
		time.Sleep(time.Minute)
		require.Len(t, p.all(), devices)
		require.Equal(t, uint64(1), r.box.position())
	})
}

// The disk does not keep up: the follower waits instead of filling memory.
func TestBackpressure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token")
		for id := registration.ID(2); id <= 1000; id++ {
			r.device(id, "fcm token")
			r.dir.topic[topic] = append(r.dir.topic[topic], id)
		}
		r.start()
		defer r.stop()
		disk := r.disk.(*faultstore.Store).Disk()
		disk.SetFault(func(op faultstore.Op) error {
			if op.Kind == faultstore.Sync {
				return errors.New("no")
			}
			return nil
		})
		const envelopes = 2 + maxUncommitted/1000 + maxFanOut/1000
		for range envelopes {
			r.log.archive(topic)
		}
		time.Sleep(10 * time.Second)
		r.box.mu.Lock()
		uncommitted := r.box.uncommitted
		r.box.mu.Unlock()
		require.GreaterOrEqual(t, uncommitted, maxUncommitted)
		require.LessOrEqual(t, uncommitted, maxUncommitted+maxFanOut)
		disk.SetFault(nil)
		time.Sleep(time.Minute)
		require.Equal(t, uint64(envelopes), r.box.position())
		s, err := r.box.status(999)
		require.NoError(t, err)
		require.Equal(t, envelopes, s.unread)
	})
}

// Off for long: what is older than the TTL is not pushed, and is counted.
func TestCatchUpSkipsWhatIsTooOld(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{TTL: time.Hour}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		r.stop()
		r.log.archive(topic)
		time.Sleep(2 * time.Hour)
		fresh := r.log.archive(topic)
		r.start()
		defer r.stop()
		synctest.Wait()
		require.Len(t, p.all(), 1)
		require.Equal(t, fresh, p.all()[0].Payload.Hashes[0])
		require.Len(t, p.all()[0].Payload.Hashes, 1)
		require.Equal(t, 1.0, outcomes(r, outcomeExpired, "catch_up"))
	})
}
