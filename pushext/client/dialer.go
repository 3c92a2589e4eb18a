package client

import (
	"context"
	"errors"
	"net"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// dialer dials the mailserver for devp2p, which keeps to itself that a
// connection could not be made or broke, and tries again only after half a
// minute. A device that was woken has seconds: whoever waits for the handshake
// is told, and may dial anew at once.
type dialer struct {
	lost func(cause error) // called with the first thing that goes wrong
}

var errBroken = errors.New("the connection broke")

// Dial implements p2p.NodeDialer.
func (d dialer) Dial(ctx context.Context, dest *enode.Node) (net.Conn, error) {
	addr, ok := dest.TCPEndpoint()
	if !ok {
		err := errors.New("the enode URL has no address")
		d.lost(err)
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		d.lost(errors.New("the mailserver cannot be reached")) // err shows its address
		return nil, err
	}
	return &watched{conn, d.lost}, nil
}

// watched tells when a connection broke.
type watched struct {
	net.Conn
	lost func(cause error)
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.lost(errBroken)
	}
	return n, err
}

func (w *watched) Close() error {
	w.lost(errBroken)
	return w.Conn.Close()
}
