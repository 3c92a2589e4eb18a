package pushext

import (
	"bytes"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"
	"pgregory.net/rapid"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext/pushwire"
)

func TestStoreRefusesAnotherKeyAndFormat(t *testing.T) {
	disk := faultstore.New()
	open := func(key []byte) (*store, error) { return openStore("", key, durable.Options{Storage: disk}) }
	s, err := open(testKey)
	require.NoError(t, err)
	require.NoError(t, s.close())

	_, err = open(bytes.Repeat([]byte{8}, DiskKeySize))
	require.ErrorIs(t, err, ErrDiskKey)
	_, err = open(testKey[1:])
	require.ErrorContains(t, err, "disk key has 31 bytes, want 32")

	s, err = open(testKey)
	require.NoError(t, err)
	var b leveldb.Batch
	b.Put(keyFormat, []byte{storeFormat + 1})
	require.NoError(t, s.write(&b))
	require.NoError(t, s.close())
	_, err = open(testKey)
	require.ErrorIs(t, err, ErrFormat)
}

func TestSealBindsARecordToItsKey(t *testing.T) {
	s, err := openStore("", testKey, durable.Options{Storage: faultstore.New()})
	require.NoError(t, err)
	defer s.close()
	secret := []byte("a token that must not be read")
	sealed := s.seal([]byte("r1"), secret)
	require.NotContains(t, string(sealed), "token")
	require.NotEqual(t, sealed, s.seal([]byte("r1"), secret))
	plain, err := s.open([]byte("r1"), sealed)
	require.NoError(t, err)
	require.Equal(t, secret, plain)
	_, err = s.open([]byte("r2"), sealed)
	require.ErrorIs(t, err, errSealed)
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		_, err = s.open([]byte("r1"), bad)
		require.ErrorIs(t, err, errSealed)
		_, err = s.open([]byte("r1"), sealed[:i])
		require.ErrorIs(t, err, errSealed)
	}
	require.Equal(t, s.fingerprint(secret), s.fingerprint(bytes.Clone(secret)))
	require.NotEqual(t, s.fingerprint(secret), s.fingerprint(secret[1:]))
}

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
		}
		for i := range rapid.IntRange(0, 2*maxEntries).Draw(t, "entries") {
			d.insert(entry{hash: testHash(uint64(i)), at: rapid.Int64Range(0, 1<<50).Draw(t, "at"), read: rapid.Bool().Draw(t, "read")})
		}
		if full := rapid.Int64Range(0, 1<<50).Draw(t, "full"); full > 0 {
			d.collapsed.full = time.UnixMilli(full)
		}
		d.covered = rapid.Uint64Range(0, d.matched).Draw(t, "covered")
		b := d.appendRecord(nil, d.used+seqBlock)
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

// A record of version 1 says nothing of a ladder, nor of what was collapsible.
func TestDeviceRecordOfVersion1(t *testing.T) {
	d := &device{id: 9, strikes: 3, lost: 2, reason: "fcm 404", matched: 5, covered: 4, entries: []entry{}}
	b := d.appendRecord(nil, 64)
	head := bytes.Index(b, append([]byte{byte(len(d.reason))}, d.reason...))
	old := append(bytes.Clone(b[:head-2]), b[head:]...)
	old[0] = 1
	got, err := decodeDevice(9, old)
	require.NoError(t, err)
	d.used, d.reserved = 64, 64
	require.Equal(t, d, got)
}

func FuzzDecodeDevice(f *testing.F) {
	d := &device{id: 1, more: true, strikes: 3, reason: "fcm 404", used: 77, climb: 1}
	f.Add(d.appendRecord(nil, 100))
	d.insert(entry{hash: testHash(1), at: 1e12})
	d.insert(entry{hash: testHash(2), at: 2e12, read: true})
	f.Add(d.appendRecord(nil, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDevice(1, b)
		if err != nil {
			return
		}
		again, err := decodeDevice(1, d.appendRecord(nil, d.reserved))
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}

func TestDeviceInsert(t *testing.T) {
	d := &device{}
	for i := range maxEntries {
		added, dropped := d.insert(entry{hash: testHash(uint64(i)), read: i == 3})
		require.True(t, added)
		require.Nil(t, dropped)
	}
	added, _ := d.insert(entry{hash: testHash(5)})
	require.False(t, added, "a hash is there once")
	_, dropped := d.insert(entry{hash: testHash(1000)})
	require.Nil(t, dropped, "what was read goes first")
	require.False(t, d.more)
	_, dropped = d.insert(entry{hash: testHash(1001)})
	require.Equal(t, testHash(0), dropped.hash, "then the oldest")
	require.True(t, d.more)
	hashes, more := d.hashes(2)
	require.Equal(t, []common.Hash{testHash(1001), testHash(1000)}, hashes)
	require.True(t, more)
}

func TestEarlyReads(t *testing.T) {
	var r earlyReads
	now := testNow
	for i := range 2 * maxEarlyEach {
		r.add(1, 1, testHash(uint64(i)), now)
	}
	require.Len(t, r.at, maxEarlyEach)
	require.False(t, r.take(1, testHash(0), now), "forgotten")
	require.True(t, r.take(1, testHash(maxEarlyEach), now))
	require.False(t, r.take(1, testHash(maxEarlyEach), now), "once")
	require.False(t, r.take(2, testHash(maxEarlyEach+1), now), "another's")
	require.False(t, r.take(1, testHash(maxEarlyEach+1), now.Add(earlyLife)), "too old")
	r.add(1, 1, testHash(maxEarlyEach+2), now.Add(earlyLife))
	require.True(t, r.take(1, testHash(maxEarlyEach+2), now.Add(earlyLife)), "said again")
}

// Registrations that name made-up hashes fill what is remembered, each as much as it
// may: what another said is still known, whether before, meanwhile or after.
func TestAttackMadeUpReceipts(t *testing.T) {
	for _, attackers := range []int{1, 16, 200} {
		var r earlyReads
		now := testNow
		honest := func(i int) (registrationID, common.Hash) {
			return registrationID(1_000_000 + i), testHash(uint64(1<<40 + i))
		}
		said := 0
		for i := range 3 * maxEarly {
			by := registrationID(i % attackers)
			r.add(by, by, testHash(uint64(i)), now)
			if i%1000 == 0 {
				id, h := honest(said)
				r.add(id, id, h, now)
				said++
			}
			require.LessOrEqual(t, len(r.at), maxEarly)
			require.Equal(t, len(r.shares), r.most.Len())
		}
		for i := range said {
			id, h := honest(i)
			require.True(t, r.take(id, h, now))
		}
		for i := range 3 * maxEarly {
			r.take(registrationID(i%attackers), testHash(uint64(i)), now)
		}
		require.Empty(t, r.at)
		require.Empty(t, r.shares)
		require.Empty(t, r.most)
	}
}
