package pushserver

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
)

// loot is what a thief finds of chains in a database whose key they have.
func (b *bed) loot() (chains []pushwire.Chain) {
	b.t.Helper()
	s := b.ext.store
	it := s.Scan(registration.PrefixChain)
	for it.Next() {
		key := it.Key()
		start, err := s.Open(key, it.Value())
		require.NoError(b.t, err)
		chains = append(chains, pushwire.NewChain(binary.BigEndian.Uint64(key[9:]), registration.Start(start)))
	}
	require.NoError(b.t, it.Release())
	it = s.Scan('d') // records of devices, which end in their chain, if they have one
	for it.Next() {
		record := it.Value()
		const size = 8 + 8 + pushwire.ChainSize
		const sealed = 1 + chacha20.NonceSizeX + size + 16
		if len(record) < sealed {
			continue
		}
		plain, err := s.Open(it.Key(), record[len(record)-sealed:])
		if err != nil {
			continue // it has none
		}
		require.Len(b.t, plain, size)
		chains = append(chains, pushwire.Chain{
			Version: binary.BigEndian.Uint64(plain), Next: binary.BigEndian.Uint64(plain[8:]), Link: [pushwire.ChainSize]byte(plain[16:]),
		})
	}
	require.NoError(b.t, it.Release())
	return chains
}

// placeOf is the number of the key that a body is sealed under; ok is false if it is of
// no chain.
func placeOf(t *testing.T, body, sealPublic []byte) (number uint64, ok bool) {
	part, ok := pushwire.SealedPart(body)
	require.True(t, ok)
	sealed, err := base64.StdEncoding.DecodeString(string(part[1 : len(part)-1]))
	require.NoError(t, err)
	key, err := hkdf.Key(sha256.New, sealPublic, nil, "whisperpush/2 mask", chacha20.KeySize)
	require.NoError(t, err)
	mask, err := chacha20.NewUnauthenticatedCipher(key, sealed[:chacha20.NonceSizeX])
	require.NoError(t, err)
	var head [32]byte
	mask.XORKeyStream(head[:], sealed[chacha20.NonceSizeX:][:32])
	return binary.BigEndian.Uint64(head[8:]), [16]byte(head[16:]) == [16]byte{}
}

// Whoever takes the server's disk with its key opens none of the wake-ups that they
// recorded before and that were accepted; the device opens all of them. That the memory
// is ahead of the disk's records, and so of what was sent, is in outbox.TestChain.
func TestChainsLeadToNothingThatWasSent(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		require.Len(t, b.loot(), 1, "the start, of which nothing was sent under yet")
		chained := 0
		for range 3 {
			for range 5 {
				env := b.envelope(topicA)
				time.Sleep(time.Second) // it is on disk
				all := b.post.take("bob")
				require.Len(t, all, 1)
				p, err := pushwire.OpenPayload(all[0].Body, bob.private)
				require.NoError(t, err)
				require.Equal(t, env.Hash(), p.Hashes[0])
				place, ok := placeOf(t, all[0].Body, bob.seal)
				require.True(t, ok, "it is sealed under the chain")
				chained++

				chains := b.loot()
				require.Len(t, chains, 1)
				require.Greater(t, chains[0].Next, place, "the disk is past it")
				bob.ask(&pushwire.Fetch{Hashes: p.Hashes})
			}
			b.restart()
		}
		require.Equal(t, 15, chained)
	})
}

// A device that registers again gives another chain, or none; what comes under the one
// before still opens.
func TestChainsChange(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		woken := func() (place uint64, chained bool) {
			t.Helper()
			b.envelope(topicA)
			all := b.post.take("bob")
			require.Len(t, all, 1)
			p, err := pushwire.OpenPayload(all[0].Body, bob.private)
			require.NoError(t, err)
			bob.ask(&pushwire.Fetch{Hashes: p.Hashes})
			time.Sleep(time.Minute) // of its budget
			return placeOf(t, all[0].Body, bob.seal)
		}
		bob.join(bob.registration(topicA))
		place, ok := woken()
		require.True(t, ok)
		require.Zero(t, place)
		place, _ = woken()
		require.Equal(t, uint64(1), place)

		require.Equal(t, pushwire.OK, bob.ask(bob.registration(topicA)).Code)
		require.Len(t, b.loot(), 2, "the start of the new one, and where the old one is")
		place, ok = woken()
		require.True(t, ok)
		require.Zero(t, place, "it began anew")
		time.Sleep(time.Second)
		require.Len(t, b.loot(), 1)

		old := bob.registration(topicA)
		old.Chain = nil
		require.Equal(t, pushwire.OK, bob.ask(old).Code)
		_, ok = woken()
		require.False(t, ok, "an older device")
		time.Sleep(time.Second)
		require.Empty(t, b.loot())

		require.Equal(t, pushwire.OK, bob.ask(bob.registration(topicA)).Code)
		b.restart() // the start is read from the disk
		_, ok = woken()
		require.True(t, ok)
		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: bob.version}).Code)
		time.Sleep(time.Second)
		require.Empty(t, b.loot(), "nothing stays of a registration that ended")
	})
}
