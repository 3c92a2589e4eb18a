package registry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

func FuzzDecodeRecord(f *testing.F) {
	rec := Record{
		Registration: registration.Registration{ID: 1, Version: 3, State: registration.Active, Routes: []registration.Route{{Provider: "fcm", Address: pushext.Address{Token: "t", Keys: [][]byte{{1}}}, Proven: true}},
			Registered: time.UnixMilli(1), Expires: time.UnixMilli(2), SealKey: []byte{1}, Group: []byte{2}, Collapse: "c"},
		due: time.UnixMilli(3), challenges: []challenge{{until: time.UnixMilli(4)}}, Root: []byte{5}, handle: []byte{6}, Revoked: []string{"eve"},
	}
	f.Add(rec.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeRecord(1, b)
		if err != nil {
			require.ErrorIs(t, err, errRecord)
			return
		}
		again, err := decodeRecord(1, got.encode())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzDecodeListening(f *testing.F) {
	rec := Record{Registration: registration.Registration{State: registration.Active, Expires: time.UnixMilli(5)},
		Channels: []registration.Channel{{Topic: whisper.Topic{1}}, {Topic: whisper.Topic{2}, Mode: pushwire.Muted, Muted: 7}}}
	f.Add(rec.encodeListening())
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Record
		if err := got.decodeListening(b); err != nil {
			require.ErrorIs(t, err, errRecord)
			return
		}
		require.Equal(t, b, got.encodeListening())
	})
}
