package node

import (
	"net/netip"
	"testing"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/testutil/faultproxy"
	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

// TestLinkObserverOfMail: an observer of the link of a device that asks for mail sees how many bytes the answer has. They
// are those of the envelopes, which are public, and little more: what docs/privacy.md says that remains.
func TestLinkObserverOfMail(t *testing.T) {
	w := newWorld(t)
	w.restart(t, false)
	proxy, err := faultproxy.Listen(w.link.ListenAddr, faultproxy.Profile{}, 1)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	at := netip.MustParseAddrPort(proxy.Addr())
	through := enode.NewV4(w.link.Self().Pubkey(), at.Addr().AsSlice(), int(at.Port()), 0)

	client := mailclient.New(mailclient.Config{})
	phone := network.Start(t, network.Options{NoListen: true, Whisper: whisper.Config{Bloom: new(whisper.Bloom), LightNode: true, Direct: client}})
	client.Attach(phone.Node)
	phone.Node.Trust(through.ID())
	phone.Server.AddPeer(through)
	require.NoError(t, phone.Node.WaitPeer(t.Context(), through.ID()))

	const (
		perPacket = 112 // of RLPx and Whisper around each packet, at most
		endMark   = 256
	)
	server := mailclient.Server{ID: through.ID(), PublicKey: through.Pubkey(), PoW: whisper.DefaultMinPoW}
	ask := func(r mailwire.Request) (observed, bytes, envelopes int) {
		_, before := proxy.Bytes()
		a, err := client.Ask(t.Context(), server, r)
		require.NoError(t, err)
		_, after := proxy.Bytes()
		for _, e := range a.Envelopes {
			bytes += len(e.Raw())
		}
		return int(after - before), bytes, len(a.Envelopes)
	}
	empty := whisper.Topic{1}
	none, _, _ := ask(mailclient.Since(mailwire.Cursor{}, empty))
	require.Less(t, none, endMark, "nothing: the end mark alone")
	t.Logf("an answer without envelopes: %d bytes", none)
	for i, size := range []int{10, 300, 3000, 300} {
		e, err := whisper.Seal(t.Context(), whisper.Draft{
			Payload: make([]byte, size), Topic: loopChat().Topic, Key: loopChat().Key, PoW: whisper.DefaultMinPoW,
		})
		require.NoError(t, err)
		require.NoError(t, w.whisper.Post(t.Context(), e))

		batch := mailclient.Since(mailwire.Cursor{}, loopChat().Topic)
		observed, bytes, n := ask(batch)
		require.Equal(t, i+1, n)
		require.InDelta(t, bytes+none, observed, perPacket, "in a list: the sum of the sizes")
		single := batch
		single.Batch = false
		observed, bytes, _ = ask(single)
		require.InDelta(t, bytes+none, observed, float64(n*perPacket), "one by one")
	}
}
