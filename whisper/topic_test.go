package whisper

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTopicText(t *testing.T) {
	topic, err := ParseTopic("0x5a4ea131")
	require.NoError(t, err)
	require.Equal(t, Topic{0x5a, 0x4e, 0xa1, 0x31}, topic)
	plain, err := ParseTopic("5a4ea131")
	require.NoError(t, err)
	require.Equal(t, topic, plain)

	text, err := json.Marshal(topic)
	require.NoError(t, err)
	require.Equal(t, `"0x5a4ea131"`, string(text))
	var back Topic
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, topic, back)

	for _, bad := range []string{"", "0x", "0x5a4ea1", "0x5a4ea13100", "topic", "0xzzzzzzzz"} {
		_, err := ParseTopic(bad)
		require.ErrorContains(t, err, "four bytes in hexadecimal", bad)
	}
}

func TestBloomLosesTheEarlierBitOfAByte(t *testing.T) {
	// Bits 0, 1 and 2 share the first byte; only the last is kept.
	require.Equal(t, Bloom{0: 1 << 2}, Topic{0, 1, 2, 0}.Bloom())
	require.Equal(t, Bloom{0: 1 << 1, 32: 1 << 2}, Topic{0, 1, 2, 0b100}.Bloom())
	require.Equal(t, Bloom{31: 1 << 7, 63: 1 << 7}, Topic{255, 255, 255, 0b010}.Bloom())
}

func TestBloomCovers(t *testing.T) {
	a, b := Topic{1, 80, 200, 1}.Bloom(), Topic{9, 90, 210, 2}.Bloom()
	both := a
	both.Merge(b)
	require.True(t, both.Covers(a))
	require.True(t, both.Covers(b))
	require.False(t, a.Covers(b))
	require.True(t, FullBloom().Covers(both))
	require.True(t, Bloom{}.Covers(Bloom{}))
	require.False(t, Bloom{}.Covers(a))
}
