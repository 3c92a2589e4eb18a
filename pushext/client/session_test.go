package client

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"
)

// A device need not sit out its time when it is plain that no link comes about.
func TestConnectFailsAtOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1)) // the handshake begins
			conn.Close()
		}
	}()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	server := enode.NewV4(&key.PublicKey, net.IPv4(127, 0, 0, 1), listener.Addr().(*net.TCPAddr).Port, 0)
	d, err := Open(t.Context(), Config{Server: server.URLv4(), PushKey: hexutil.Encode(crypto.FromECDSAPub(&key.PublicKey))})
	require.NoError(t, err)
	defer d.Close()

	// Nothing but the failure ends these: their time is a minute.
	for _, what := range []string{"breaks in the handshake", "is refused"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		require.Error(t, d.Connect(ctx), what)
		require.NoError(t, ctx.Err(), what)
		cancel()
		listener.Close()
		<-closed
	}
}
