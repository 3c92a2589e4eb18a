package genuinenode_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinenode"
)

// connectRaw links the current go-ethereum's p2p to n, exchanges status, and
// returns the link to write packets to; what n sends is read and dropped.
func connectRaw(t *testing.T, ctx context.Context, n *genuinenode.Node) (p2p.MsgWriter, enode.ID) {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	links := make(chan p2p.MsgWriter, 1)
	server := &p2p.Server{Config: p2p.Config{
		PrivateKey: key, MaxPeers: 1, ListenAddr: "127.0.0.1:0", NoDiscovery: true,
		Protocols: []p2p.Protocol{{Name: "shh", Version: 6, Length: 128, Run: func(_ *p2p.Peer, rw p2p.MsgReadWriter) error {
			if err := p2p.Send(rw, 0, []any{uint(6), uint(0), []byte{}, false}); err != nil {
				return err
			}
			for first := true; ; first = false {
				msg, err := rw.ReadMsg()
				if err != nil {
					return err
				}
				if err := msg.Discard(); err != nil {
					return err
				}
				if first {
					links <- rw
				}
			}
		}}},
	}}
	require.NoError(t, server.Start())
	t.Cleanup(server.Stop)
	server.AddPeer(enode.MustParseV4(n.Enode))
	select {
	case rw := <-links:
		require.NoError(t, n.WaitPeer(ctx, server.Self().ID()))
		return rw, server.Self().ID()
	case <-ctx.Done():
		t.Fatal("no link to the genuine node")
		return nil, enode.ID{}
	}
}

// TestIngest pushes a load over one RLPx link until the genuine mailserver has
// archived it all: the way a benchmark measures its rival.
func TestIngest(t *testing.T) {
	const count, perPacket = 20_000, 500
	ctx := limited(t)
	path := filepath.Join(t.TempDir(), "envelopes")
	require.NoError(t, genuinenode.WriteLoad(ctx, genuinenode.Load{Count: count, Topics: 100, Size: 284, TTL: 600}, path))
	load, err := os.ReadFile(path)
	require.NoError(t, err)
	server := genuinenode.Run(t, genuinenode.Options{MailDir: t.TempDir(), MailPassword: "mail password"})
	rw, id := connectRaw(t, ctx, server)

	s := rlp.NewStream(bytes.NewReader(load), 0)
	var packet []rlp.RawValue
	flush := func() {
		require.NoError(t, p2p.Send(rw, 1, packet))
		packet = packet[:0]
	}
	start := time.Now()
	for {
		env, err := s.Raw()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if packet = append(packet, env); len(packet) == perPacket {
			flush()
		}
	}
	if len(packet) > 0 {
		flush()
	}
	archived, err := server.AwaitArchived(ctx, count)
	require.NoError(t, err)
	took := time.Since(start)
	require.Equal(t, count, archived.Count)
	require.True(t, server.Connected(id))
	t.Logf("%d envelopes in %v: %.0f envelopes/s", count, took.Round(time.Millisecond), count/took.Seconds())

	// An envelope long expired costs the link, but what shares its packet is kept.
	fresh := genuinenode.Load{Count: 1, Seed: 2, Topics: 1, Size: 100, TTL: 600}
	stale := fresh
	stale.From = 1_600_000_000
	var both []rlp.RawValue
	for i, l := range []genuinenode.Load{stale, fresh} {
		path := filepath.Join(t.TempDir(), string(rune('a'+i)))
		require.NoError(t, genuinenode.WriteLoad(ctx, l, path))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		both = append(both, b)
	}
	require.NoError(t, p2p.Send(rw, 1, both))
	_, err = server.AwaitArchived(ctx, count+1)
	require.NoError(t, err)
	reason, err := server.WaitPeerGone(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "invalid envelope", reason)
}
