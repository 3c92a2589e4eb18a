package pushserver

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable/faultstore"
	"whisperpush/pushext/pushwire"
)

// The disk key is exchanged while devices register and are woken: the database opens with the new key alone, everything in
// it is sealed with that, nobody is lost or woken twice, and a crash at any point is gone on from.
func TestRotateDiskKey(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		var phones []*phone
		for n := range 40 {
			p := b.phone(fmt.Sprint("phone ", n))
			p.join(p.registration(topicA))
			phones = append(phones, p)
		}
		fresh := b.phone("never woken")
		fresh.join(fresh.registration(topicB))
		b.envelope(topicA)
		time.Sleep(time.Minute)
		for _, p := range phones {
			require.Len(t, p.payloads(), 1)
		}
		former, next := bedKey, bytes.Repeat([]byte{9}, DiskKeySize)
		require.ErrorIs(t, b.ext.RotateDiskKey(next, next), ErrDiskKey)
		require.NoError(t, b.ext.RotateDiskKey(former, next))
		late := b.phone("late")
		late.join(late.registration(topicA))
		time.Sleep(time.Minute)
		require.False(t, b.ext.Rotating())

		sealed := 0
		require.NoError(t, b.ext.Snapshot(func(key, value []byte) error {
			switch key[0] {
			case 'r', 'l', 'c':
				require.True(t, b.ext.store.Current(key, value), "%q", key)
				sealed++
			}
			return nil
		}))
		require.GreaterOrEqual(t, sealed, 2*len(phones))
		b.stop()
		_, err := New(b.cfg)
		require.ErrorIs(t, err, ErrDiskKey, "the former key opens it no more")
		b.cfg.DiskKey, b.cfg.Registerer = next, nil
		b.start()
		b.envelope(topicA)
		b.envelope(topicB)
		time.Sleep(time.Minute)
		for _, p := range append(phones, late, fresh) {
			all := p.payloads()
			require.Len(t, all, 1, p.token)
			require.Equal(t, pushwire.Messages, all[0].Kind)
		}
		rep, _ := phones[0].status()
		require.Equal(t, pushwire.Active, rep.State, "found by its key")

		// Again, with a disk that fails in the middle.
		third := bytes.Repeat([]byte{11}, DiskKeySize)
		broken := errors.New("no space left on device")
		var synced atomic.Bool // the exchange itself; what follows it fails
		b.disk.Disk().SetFault(func(op faultstore.Op) error {
			switch {
			case op.Kind == faultstore.Sync:
				synced.Store(true)
			case synced.Load() && (op.Kind == faultstore.Write || op.Kind == faultstore.Create):
				return broken
			}
			return nil
		})
		require.NoError(t, b.ext.RotateDiskKey(next, third))
		require.ErrorIs(t, b.ext.RotateDiskKey(third, next), ErrRotating)
		require.ErrorIs(t, b.ext.Snapshot(func([]byte, []byte) error { return nil }), ErrRotating)
		time.Sleep(time.Minute)
		require.True(t, b.ext.Rotating())
		b.disk.Disk().SetFault(nil)
		b.stop()
		b.cfg.DiskKey = third
		b.start()
		time.Sleep(time.Minute)
		require.False(t, b.ext.Rotating())
		b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Len(t, phones[7].payloads(), 1)
	})
}
