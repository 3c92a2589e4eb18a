package requests

import (
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

func TestReplaysAreBounded(t *testing.T) {
	r := replays{max: 3}
	id := func(i int) [pushwire.IDSize]byte { return [pushwire.IDSize]byte{byte(i)} }
	for i := range 4 {
		require.True(t, r.first([33]byte{}, id(i)))
	}
	require.Len(t, r.seen, 3)
	require.False(t, r.first([33]byte{}, id(1)))
	require.True(t, r.first([33]byte{1}, id(1)), "another device")
	require.True(t, r.first([33]byte{}, id(0)), "forgotten")
}
