package mailclient_test

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
	"whisperpush/whisper/uplink"
)

// collect asks a mailserver for everything it archived since a cursor, page by page, and returns the cursor for the
// next time.
func collect(ctx context.Context, server *enode.Node, password string, since mailwire.Cursor, handle func([]*whisper.Envelope) error) (mailwire.Cursor, error) {
	client := mailclient.New(mailclient.Config{})
	node, err := whisper.NewNode(whisper.Config{LightNode: true, Bloom: new(whisper.Bloom), Direct: client})
	if err != nil {
		return since, err
	}
	client.Attach(node)
	if err := node.Start(); err != nil {
		return since, err
	}
	defer node.Stop()
	node.Trust(server.ID()) // or its answers are dropped
	link, err := uplink.Dial(ctx, uplink.Config{Node: node, Server: server})
	if err != nil {
		return since, err
	}
	defer link.Close()
	return client.Collect(ctx, mailclient.Server{ID: server.ID(), Key: whisper.KeyFromPassword(password)}, mailclient.Since(since), handle)
}

// A server that does not answer leaves the cursor where it was.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	server := enode.MustParse("enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@127.0.0.1:1")
	cursor, err := collect(ctx, server, "status-offline-inbox", mailwire.Cursor{}, func(page []*whisper.Envelope) error {
		fmt.Println(len(page), "envelopes")
		return nil
	})
	fmt.Println(cursor.IsZero(), err)
	// Output: true context canceled
}
