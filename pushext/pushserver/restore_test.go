package pushserver

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
)

// A server that continues from a copy knows the registrations of that moment and wakes their devices, under numbers
// that the server has not used since the copy, and with keys of no chain that it may have. A device that registered
// later is told so.
func TestRestore(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob, late := b.phone("bob"), b.phone("late")
		bob.join(bob.registration(topicA))
		b.envelope(topicA)
		time.Sleep(time.Second)
		require.Len(t, bob.payloads(), 1)
		b.envelope(topicA)
		time.Sleep(time.Minute)
		bob.payloads()

		type record struct{ key, value []byte }
		var copied []record
		cursors := 0
		require.NoError(t, b.ext.Snapshot(func(key, value []byte) error {
			copied = append(copied, record{bytes.Clone(key), bytes.Clone(value)})
			if cursor, ok := CursorOf(key, value); ok {
				require.Equal(t, b.archive.Last(), cursor)
				cursors++
			}
			return nil
		}))
		require.Equal(t, 1, cursors)
		stop := errors.New("stop")
		require.ErrorIs(t, b.ext.Snapshot(func([]byte, []byte) error { return stop }), stop)

		late.join(late.registration(topicA)) // after the copy
		newest := uint64(0)
		for range 100 {
			b.envelope(topicA)
			time.Sleep(time.Minute)
			for _, p := range bob.payloads() {
				newest = max(newest, p.Seq)
			}
		}
		require.Positive(t, newest)
		late.payloads()
		lateID := b.idOf(late)
		b.stop()

		restore := func(dir string, key []byte, drop string) error {
			r, err := Restore(dir, key)
			require.NoError(t, err)
			for _, one := range copied {
				if string(one.key) == drop {
					continue
				}
				if err := r.Put(one.key, one.value); err != nil {
					r.Abort()
					return err
				}
			}
			return r.Close(time.Now())
		}
		require.ErrorIs(t, restore(filepath.Join(t.TempDir(), "a"), bytes.Repeat([]byte{8}, DiskKeySize), ""), ErrDiskKey)
		require.ErrorIs(t, restore(filepath.Join(t.TempDir(), "b"), bedKey, "mk"), ErrFormat)
		dir := filepath.Join(t.TempDir(), "push")
		require.NoError(t, restore(dir, bedKey, ""))
		n := 0
		require.NoError(t, SnapshotDir(dir, func([]byte, []byte) error { n++; return nil }))
		require.InDelta(t, len(copied), n, 2, "starts of chains and snapshots are left out")

		b.cfg.Dir, b.cfg.storage, b.cfg.Registerer = dir, nil, prometheus.NewRegistry()
		b.start()
		b.envelope(topicA)
		time.Sleep(time.Minute)
		all := bob.payloads()
		require.NotEmpty(t, all)
		for _, p := range all {
			require.Greater(t, p.Seq, newest, "no number twice")
		}
		rep, _ := bob.status()
		require.NotNil(t, rep)
		late.join(late.registration(topicA))
		require.Greater(t, b.idOf(late), lateID, "nor an id")
		require.NoError(t, b.ext.Probe())
		_, err := durable.Check(t.Context(), dir, nil)
		require.ErrorIs(t, err, durable.ErrLocked)
	})
}

// idOf is the id of a phone's registration.
func (b *bed) idOf(p *phone) RegistrationID {
	rec, err := b.ext.registry.Lookup(p.account())
	require.NoError(b.t, err)
	require.NotNil(b.t, rec)
	return rec.ID
}

// account is the registration key, compressed.
func (p *phone) account() [33]byte {
	return [33]byte(crypto.CompressPubkey(&p.key.PublicKey))
}
