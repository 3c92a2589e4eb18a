package registry

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// An earlier version kept no number of channels with the sources of registrations:
// it is counted from the registrations then.
func TestSourcesOfAnEarlierVersion(t *testing.T) {
	b := newSmall(t, faultstore.New())
	defer func() { require.NoError(t, b.store.Close()) }()
	for who := range 2 {
		g := &pushwire.Register{Version: 1, Plain: true, Routes: []pushwire.Route{boxed(string(rune('a' + who)))}, Channels: []pushwire.Channel{{Topic: whisper.Topic{1}}, {Topic: whisper.Topic{2}}}}
		_, errands, err := b.Register([33]byte{1, byte(who)}, source(1), g, b.now)
		require.NoError(t, err)
		if who == 0 {
			_, err = b.Confirm([33]byte{1}, func(code [pushwire.CodeSize]byte) bool { return code == errands[0].Code }, b.now)
			require.NoError(t, err)
		}
	}
	v := b.settled()
	var earlier durable.Batch
	var of [16]byte
	require.NoError(t, v.scan([]byte{prefixSource}, func(key, value []byte) bool {
		earlier.Put(key, nil)
		of = [16]byte(key[1:17])
		want := uint32(0)
		if registration.ID(binary.BigEndian.Uint64(key[17:])) == 1 {
			want = 2
		}
		require.Equal(t, want, binary.BigEndian.Uint32(value))
		return true
	}))
	require.NoError(t, b.store.Write(&earlier))
	b.sources.Purge()
	have, err := (&decision{reader: v}).held(of)
	require.NoError(t, err)
	require.Equal(t, holding{registrations: 2, channels: 2}, have, "of one that proved its address, and of one that did not")
}
