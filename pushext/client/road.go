package client

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/mailserver/mailclient"
	"whisperpush/whisper"
	"whisperpush/whisper/uplink"
)

// deviceName is what every device calls itself, so that the name tells no two apart.
const deviceName = "whisperpush-device"

// road is how a session reaches the mailserver: a devp2p link, or the door. What
// arrives over it goes to the session, as packets 125 and 127 from the endpoint's peer.
type road interface {
	mailclient.Node // SendRequest returns before the answer is complete

	// show is SendRequest for a request that also shows the server at which end of the
	// road the device can be rung.
	show(ctx context.Context, env *whisper.Envelope) error
	// post puts an envelope on the network. archived says that the server has archived
	// it; a link does not report that.
	post(ctx context.Context, env *whisper.Envelope) (archived bool, err error)
	// mailserver tells how to send requests for mail: encrypted to the server's node
	// key, which may have to be requested first, or with the key of a password.
	mailserver(ctx context.Context, key []byte) (mailclient.Server, error)
	// life ends with the road. Its cause is the reason.
	life() context.Context
	// up tells whether the road still stands.
	up() bool
	close()
}

// endpoint is a mailserver by its name in Config.Server.
type endpoint interface {
	// peer is the name by which its roads call the mailserver.
	peer() enode.ID
	// dial makes a road that hands what arrives to handler. If finding out whether the
	// server answers would cost the server anything, it returns once the server has
	// answered.
	dial(ctx context.Context, handler whisper.DirectHandler, logger *slog.Logger) (road, error)
	// goOn sets the push key that the mailserver has from now on.
	goOn(pushKey *ecdsa.PublicKey)
	// rest closes what stays open between two roads.
	rest()
}

// nodeEndpoint is a node of the Whisper network.
type nodeEndpoint struct{ server *enode.Node }

// nodeRoad is a link of devp2p.
type nodeRoad struct {
	server *enode.Node
	node   *whisper.Node
	link   *uplink.Link
}

// dial connects with a node key made for this connection, so that two connections cannot
// be linked to one device. It returns when the shh handshake is complete.
func (e nodeEndpoint) dial(ctx context.Context, handler whisper.DirectHandler, logger *slog.Logger) (road, error) {
	// A phone wants none of the network's traffic, and passes nothing on.
	node, err := whisper.NewNode(whisper.Config{Bloom: new(whisper.Bloom), LightNode: true, Direct: handler, Logger: logger})
	if err != nil {
		return nil, err
	}
	if err := node.Start(); err != nil {
		return nil, err
	}
	node.Trust(e.server.ID())
	link, err := uplink.Dial(ctx, uplink.Config{Node: node, Server: e.server, Name: deviceName})
	if err != nil {
		node.Stop()
		return nil, fmt.Errorf("connecting to the mailserver: %w", err)
	}
	return &nodeRoad{server: e.server, node: node, link: link}, nil
}

func (e nodeEndpoint) peer() enode.ID { return e.server.ID() }

func (e nodeEndpoint) goOn(*ecdsa.PublicKey) {} // the node key stays

func (e nodeEndpoint) rest() {}

// SendRequest implements mailclient.Node.
func (r *nodeRoad) SendRequest(ctx context.Context, peer enode.ID, env *whisper.Envelope) error {
	return r.node.SendRequest(ctx, peer, env)
}

func (r *nodeRoad) show(ctx context.Context, env *whisper.Envelope) error {
	return r.node.SendRequest(ctx, r.server.ID(), env) // every request shows it on a link
}

func (r *nodeRoad) post(ctx context.Context, env *whisper.Envelope) (archived bool, err error) {
	return false, r.node.SendMessages(ctx, r.server.ID(), env)
}

func (r *nodeRoad) mailserver(_ context.Context, key []byte) (mailclient.Server, error) {
	server := mailclient.Server{ID: r.server.ID(), Key: key}
	if key == nil {
		server.PublicKey = r.server.Pubkey()
	}
	for _, peer := range r.node.Peers() {
		if peer.ID == r.server.ID() {
			server.PoW = min(peer.MinPoW, maxPoW)
		}
	}
	return server, nil
}

func (r *nodeRoad) life() context.Context { return r.link.Context() }

func (r *nodeRoad) up() bool { return len(r.node.Peers()) > 0 }

func (r *nodeRoad) close() {
	r.link.Close()
	r.node.Stop()
}
