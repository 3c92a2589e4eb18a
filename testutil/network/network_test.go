package network

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/whisper"
)

// The node database of devp2p is goleveldb, one goroutine of which outlives Close
// by a second.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

func TestConnect(t *testing.T) {
	relay := Start(t, Options{})
	alice := Start(t, Options{NoListen: true})
	bob := Start(t, Options{NoListen: true})
	Connect(t, alice, relay)
	Connect(t, bob, relay)

	key := make([]byte, 32)
	inbox, err := bob.Node.Subscribe(whisper.Filter{Key: key}, 1)
	require.NoError(t, err)
	envelope, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("hello"), Key: key})
	require.NoError(t, err)
	require.NoError(t, alice.Node.Post(context.Background(), envelope))
	received := <-inbox.C()
	require.Equal(t, "hello", string(received.Payload))
	require.Equal(t, envelope.Hash(), received.Envelope.Hash())
}
