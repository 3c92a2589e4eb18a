package pushwire

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What a device and its server make of one start is the same, whatever is left out;
// and what a server holds leads to no key that it has made.
func TestChain(t *testing.T) {
	private, public, err := NewSealKey()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.Uint64().Draw(t, "version")
		start, err := ChainStart(private, version)
		require.NoError(t, err)
		c := NewChain(version, start)
		seen := make(map[[ChainSize]byte]bool)
		for seq := range uint64(rapid.IntRange(1, 20).Draw(t, "wake-ups")) {
			c.Skip(rapid.Uint64Range(0, 40).Draw(t, "left out"))
			before := c
			key, ok := c.Take()
			require.True(t, ok)
			require.False(t, seen[key.key], "each key is another one")
			seen[key.key] = true
			require.NotEqual(t, before.Link, c.Link)
			p := Payload{Kind: Messages, Seq: seq + 1}
			body, err := SealChained(p, public, key)
			require.NoError(t, err)
			require.Len(t, body, BodySize)
			_, ok = SealedPart(body)
			require.True(t, ok)
			got, err := OpenPayload(body, private)
			require.NoError(t, err)
			require.Equal(t, p, got)
		}
	})
}

// A body under a chain's key opens for its device only, unchanged only, and with no
// more work than a chain is long.
func TestChainRefuses(t *testing.T) {
	private, public, err := NewSealKey()
	require.NoError(t, err)
	other, otherPublic, err := NewSealKey()
	require.NoError(t, err)
	start, err := ChainStart(private, 7)
	require.NoError(t, err)
	c := NewChain(7, start)
	key, _ := c.Take()
	body, err := SealChained(Payload{Kind: Messages, Seq: 1}, public, key)
	require.NoError(t, err)
	_, err = OpenPayload(body, other)
	require.ErrorIs(t, err, ErrCannotOpen)
	for at := len(sealedHead) + 1; at < BodySize-4; at += 97 {
		bad := append([]byte(nil), body...)
		bad[at] ^= 1
		_, err := OpenPayload(bad, private)
		require.Error(t, err)
	}
	for name, bad := range map[string]ChainKey{
		"another version": {8, 0, key.key},
		"another number":  {7, 1, key.key},
		"beyond its end":  {7, MaxChain, key.key},
		"far beyond":      {7, 1 << 63, key.key},
	} {
		body, err := SealChained(Payload{Kind: Messages, Seq: 1}, public, bad)
		require.NoError(t, err)
		_, err = OpenPayload(body, private)
		require.ErrorIs(t, err, ErrCannotOpen, name)
	}
	theirs, err := SealChained(Payload{Kind: Messages, Seq: 1}, otherPublic, key)
	require.NoError(t, err)
	_, err = OpenPayload(theirs, other)
	require.ErrorIs(t, err, ErrCannotOpen, "a chain is made of a private seal key")
}

// Bodies of one chain have nothing in common, with each other nor with those of a Sealer.
func TestChainedBodiesLookAlike(t *testing.T) {
	private, public, err := NewSealKey()
	require.NoError(t, err)
	start, err := ChainStart(private, 1)
	require.NoError(t, err)
	c := NewChain(1, start)
	const bodies = 400
	var ones [SealedSize * 8]int
	for range bodies {
		key, _ := c.Take()
		body, err := SealChained(Payload{Kind: Messages, Seq: 1}, public, key)
		require.NoError(t, err)
		part, ok := SealedPart(body)
		require.True(t, ok)
		sealed, err := base64.StdEncoding.DecodeString(string(part[1 : len(part)-1]))
		require.NoError(t, err)
		for i, b := range sealed {
			for bit := range 8 {
				ones[i*8+bit] += int(b >> bit & 1)
			}
		}
	}
	for bit, n := range ones { // 6 standard deviations are 60 of 400
		require.InDelta(t, bodies/2, n, 60+10, "bit %d", bit)
	}
}

func BenchmarkSealChained(b *testing.B) {
	private, public, err := NewSealKey()
	require.NoError(b, err)
	start, err := ChainStart(private, 1)
	require.NoError(b, err)
	p := Payload{Kind: Messages, Seq: 1, Hashes: vectorHashes}
	for b.Loop() {
		c := NewChain(1, start)
		key, _ := c.Take()
		if _, err := SealChained(p, public, key); err != nil {
			b.Fatal(err)
		}
	}
}
