package dispatch

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
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/testutil/memlog"
)

func TestFollowerGoesOnAtTheOldestAfterAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		r.log.Archive(topic)
		synctest.Wait()
		r.stop()
		for range 10 {
			r.log.Archive(topic)
		}
		r.log.Forget(8) // 2 to 7 fell out of the archive
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
			synctest.Test(t, func(t *testing.T) {
				p := &scripted{name: "fcm"}
				r := newRig(t, Delivery{}, p)
				topic := r.device(1, "fcm token-1")
				for range 8 {
					r.log.Archive(topic)
				}
				r.log.Lose(2, 6, tt.unused, tt.unsure)
				s, err := vault.Open("", testKey, durable.Options{Storage: r.disk})
				require.NoError(t, err)
				var b durable.Batch
				b.Put(outbox.KeyCursor, binary.BigEndian.AppendUint64(nil, 0))
				require.NoError(t, s.Write(&b))
				require.NoError(t, s.Close())
				r.start()
				synctest.Wait()
				require.Equal(t, uint64(8), r.box.Position())
				require.Len(t, p.all()[0].Payload.Hashes, 3)
				require.Equal(t, tt.gaps, r.metric("log_gaps_total"))
				require.Equal(t, tt.missed, r.metric("log_missed_envelopes_total"))
				require.Equal(t, 8.0, r.metric("cursor"))

				r.log.Break(errors.New("disk"))
				time.Sleep(time.Minute)
				r.stop()
				require.Equal(t, tt.missed, r.metric("log_missed_envelopes_total"))
				require.Equal(t, tt.unsure, strings.Contains(r.out.String(), "may have held"))
			})
		})
	}
}

func TestFollowerOfAnArchiveThatWasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		for range 5 {
			r.log.Archive(topic)
		}
		synctest.Wait()
		r.stop()
		n := len(p.all())
		r.log = memlog.New()
		r.start()
		defer r.stop()
		synctest.Wait()
		require.Contains(t, r.out.String(), "it was replaced")
		r.log.Archive(r.device(2, "fcm token-2"))
		synctest.Wait()
		require.Len(t, p.all(), n+1)
	})
}

// After a recovery the archive has envelopes that were matched before under new
// sequences: they wake nobody. Those that were not matched do, and so do new ones.
func TestFollowerPassesOverWhatWasArchivedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		for range 5 {
			r.log.Archive(topic)
			time.Sleep(time.Second)
		}
		n := len(p.all())
		r.stop()
		late := r.log.Archive(topic) // 6, which nobody has matched

		move := func(old []uint64, first uint64) {
			s, err := vault.Open("", testKey, durable.Options{Storage: r.disk})
			require.NoError(t, err)
			m, err := outbox.NewMoves(s)
			require.NoError(t, err)
			require.NoError(t, m.Add(old, first))
			require.NoError(t, m.Close())
			time.Sleep(2 * time.Second)
			for range old {
				r.log.Archive(topic)
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
		require.Subset(t, named, []common.Hash{late, memlog.Hash(11)})
		for _, again := range []uint64{7, 8, 9, 10, 12, 13} {
			require.NotContains(t, named, memlog.Hash(again))
		}
		require.Equal(t, uint64(13), r.box.Position())
		after := r.log.Archive(topic)
		time.Sleep(time.Minute)
		require.Equal(t, after, p.all()[n+1].Payload.Hashes[0])
		r.stop()

		// Another archive has other envelopes under those sequences.
		move([]uint64{1, 2, 3}, 15)
		r.log = memlog.New()
		r.log.Archive(topic)
		r.start()
		synctest.Wait()
		for range 20 {
			r.log.Archive(topic)
		}
		time.Sleep(time.Hour)
		require.Equal(t, uint64(21), r.box.Position())
		require.Equal(t, 20.0-7, r.metric("matches_total"), "7 of them have hashes that wait already")
		r.stop()
	})
}

// An envelope that everybody listens to takes several batches, and a crash
// between them costs no device its wake-up.
func TestFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = handedOver + 100
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{}, p)
		topic := r.device(1, "fcm token")
		for id := registration.ID(2); id <= devices; id++ {
			r.device(id, "fcm token")
			r.dir.topic[topic] = append(r.dir.topic[topic], id)
		}
		r.start()
		defer r.stop()
		r.log.Archive(topic)
		time.Sleep(time.Minute)
		require.Len(t, p.all(), devices)
		require.Equal(t, uint64(1), r.box.Position())
	})
}

// The disk does not keep up: the follower waits instead of filling memory.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		const envelopes = 2 + aheadOfDisk/1000 + handedOver/1000
		for range envelopes {
			r.log.Archive(topic)
		}
		time.Sleep(10 * time.Second)
		uncommitted := r.metric("matches_total")
		require.GreaterOrEqual(t, uncommitted, float64(aheadOfDisk))
		require.LessOrEqual(t, uncommitted, float64(aheadOfDisk+handedOver))
		disk.SetFault(nil)
		time.Sleep(time.Minute)
		require.Equal(t, uint64(envelopes), r.box.Position())
		s, err := r.box.Status(999)
		require.NoError(t, err)
		require.Equal(t, envelopes, s.Unread)
	})
}

// Off for long: what is older than the TTL is not pushed, and is counted.
func TestCatchUpSkipsWhatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{TTL: time.Hour}, p)
		topic := r.device(1, "fcm token-1")
		r.start()
		r.stop()
		r.log.Archive(topic)
		time.Sleep(2 * time.Hour)
		fresh := r.log.Archive(topic)
		r.start()
		defer r.stop()
		synctest.Wait()
		require.Len(t, p.all(), 1)
		require.Equal(t, fresh, p.all()[0].Payload.Hashes[0])
		require.Len(t, p.all()[0].Payload.Hashes, 1)
		require.Equal(t, 1.0, outcomes(r, "expired", "catch_up"))
	})
}
