package outbox

import (
	"bytes"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
)

func TestDeviceRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &device{
			id:      9,
			more:    rapid.Bool().Draw(t, "more"),
			strikes: rapid.Uint32().Draw(t, "strikes"),
			lost:    rapid.Uint32().Draw(t, "lost"),
			reason:  rapid.StringN(0, 10, maxReason).Draw(t, "reason"),
			used:    rapid.Uint64Range(0, 1<<60).Draw(t, "used"),
			climb:   rapid.Uint8Range(0, pushwire.MaxRoutes).Draw(t, "climb"),
			entries: []entry{},
			fetched: rapid.Uint32().Draw(t, "fetched"),
		}
		for _, provider := range rapid.SliceOfN(rapid.SampledFrom([]string{"fcm", "apns", "direct", "webpush", "hms"}), 0, 9).Draw(t, "accepted") {
			d.accept(provider, time.Unix(rapid.Int64Range(0, 1<<31).Draw(t, "accepted at"), 0))
		}
		for i := range rapid.IntRange(0, 2*maxEntries).Draw(t, "entries") {
			d.insert(entry{hash: memlog.Hash(uint64(i)), at: rapid.Int64Range(0, 1<<50).Draw(t, "at"), read: rapid.Bool().Draw(t, "read")})
		}
		if full := rapid.Int64Range(0, 1<<50).Draw(t, "full"); full > 0 {
			d.collapsed.Full = time.UnixMilli(full)
		}
		d.covered = rapid.Uint64Range(0, d.matched).Draw(t, "covered")
		for i := range rapid.IntRange(0, 2*maxDismissed).Draw(t, "dismissed") {
			d.dismiss(memlog.Hash(uint64(i / 2)))
		}
		if rapid.Bool().Draw(t, "ledger") {
			d.ledger = ledgerOf(rapid.IntRange(0, 2*pushwire.MaxTold).Draw(t, "entered"))
		}
		b := d.appendRecord(nil, d.used+seqBlock, nil)
		got, err := decodeDevice(9, b)
		if err != nil {
			t.Fatal(err)
		}
		d.used += seqBlock
		d.reserved = d.used
		require.Equal(t, d, got)
		for i := range b {
			_, err := decodeDevice(9, b[:i])
			require.ErrorIs(t, err, errDeviceRecord)
		}
	})
}

// ledgerOf is a ledger with so many hashes.
func ledgerOf(n int) ledger {
	o := new(Outbox)
	d := &device{ledger: ledger{on: true, Terms: Terms{
		Secret: [16]byte{1, 15: 2}, Log: []byte("log"), Breaks: 3, Duty: 4, Since: 5, Begun: registration.FromMillis(6), Topics: memlog.Hash(7),
	}}}
	d.ledger.end.value = memlog.Hash(8)
	for i := range n {
		o.enter(d, memlog.Hash(uint64(i)), uint64(i)+1)
	}
	d.ledger.unsaved, d.ledger.firm = false, firmEnd{}
	return d.ledger
}

// A record of version 1 says nothing of a ladder, nor of what was collapsible.
func TestDeviceRecordOfVersion1(t *testing.T) {
	d := &device{id: 9, strikes: 3, lost: 2, reason: "fcm 404", matched: 5, covered: 4, entries: []entry{}}
	b := d.appendRecord(nil, 64, nil)
	head := bytes.Index(b, append([]byte{byte(len(d.reason))}, d.reason...))
	old := append(bytes.Clone(b[:head-2]), b[head:len(b)-4]...)
	old[0] = 1
	got, err := decodeDevice(9, old)
	require.NoError(t, err)
	d.used, d.reserved = 64, 64
	require.Equal(t, d, got)
}

// A record of version 3 knows no dismissals.
func TestDeviceRecordOfVersion3(t *testing.T) {
	d := &device{id: 9, strikes: 3, matched: 5, covered: 4, entries: []entry{}}
	old := d.appendRecord(nil, 64, nil)
	old = old[:len(old)-4]
	old[0] = 3
	got, err := decodeDevice(9, old)
	require.NoError(t, err)
	d.used, d.reserved = 64, 64
	require.Equal(t, d, got)
	sealed := append(old, "a chain"...)
	got, err = decodeDevice(9, sealed)
	require.NoError(t, err)
	require.Equal(t, []byte("a chain"), got.sealed)
	require.Empty(t, got.dismissed)
}

func FuzzDecodeDevice(f *testing.F) {
	d := &device{id: 1, more: true, strikes: 3, reason: "fcm 404", used: 77, climb: 1}
	f.Add(d.appendRecord(nil, 100, nil))
	d.insert(entry{hash: memlog.Hash(1), at: 1e12})
	d.insert(entry{hash: memlog.Hash(2), at: 2e12, read: true})
	d.dismiss(memlog.Hash(3))
	d.accept("fcm", time.Unix(1_800_000_000, 0))
	f.Add(d.appendRecord(nil, 1<<40, []byte{1, 2, 3}))
	d.ledger = ledgerOf(3)
	f.Add(d.appendRecord(nil, 1<<40, []byte{1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDevice(1, b)
		if err != nil {
			return
		}
		again, err := decodeDevice(1, d.appendRecord(nil, d.reserved, d.sealed))
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}

func TestDeviceInsert(t *testing.T) {
	d := &device{}
	for i := range maxEntries {
		added, dropped := d.insert(entry{hash: memlog.Hash(uint64(i)), read: i == 3})
		require.True(t, added)
		require.Nil(t, dropped)
	}
	added, _ := d.insert(entry{hash: memlog.Hash(5)})
	require.False(t, added, "a hash is there once")
	_, dropped := d.insert(entry{hash: memlog.Hash(1000)})
	require.Nil(t, dropped, "what was read goes first")
	require.False(t, d.more)
	_, dropped = d.insert(entry{hash: memlog.Hash(1001)})
	require.Equal(t, memlog.Hash(0), dropped.hash, "then the oldest")
	require.True(t, d.more)
	hashes, more := d.hashes(2)
	require.Equal(t, []common.Hash{memlog.Hash(1001), memlog.Hash(1000)}, hashes)
	require.True(t, more)
}
