package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/whisper"
	"whisperpush/whisper/devp2p"
)

// life is how long a message lives in the network, in seconds: longer than a
// restart of the server, so that the network still has what the server missed.
const life = 60

// work is the proof of work of a message, far less than the network's usual 0.2.
// That work is the sender's, and here it would take time from the server.
const work = 0.001

// writer is a node of its own that everybody writes through.
type writer struct {
	node *whisper.Node
	link *p2p.Server
	self *enode.Node
}

func newWriter() (*writer, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	w := new(writer)
	if w.node, err = whisper.NewNode(whisper.Config{MinPoW: work}); err != nil {
		return nil, err
	}
	if err := w.node.Start(); err != nil {
		return nil, err
	}
	w.link = &p2p.Server{Config: p2p.Config{
		PrivateKey: key, Name: "whisperpush-slo", MaxPeers: 10, NoDiscovery: true, ListenAddr: "127.0.0.1:0",
		Protocols: []p2p.Protocol{devp2p.Protocol(w.node)},
	}}
	if err := w.link.Start(); err != nil {
		w.node.Stop()
		return nil, err
	}
	_, port, err := net.SplitHostPort(w.link.ListenAddr)
	if err != nil {
		w.close()
		return nil, err
	}
	number, _ := strconv.Atoi(port)
	w.self = enode.NewV4(&key.PublicKey, net.IPv4(127, 0, 0, 1), number, 0)
	return w, nil
}

func (w *writer) close() {
	w.link.Stop()
	w.node.Stop()
}

// write writes a message to a device and notes it. The message counts from the
// moment it is handed to the network, whether the server is up or not.
func (w *writer) write(ctx context.Context, d *device, number int) error {
	e, err := whisper.Seal(ctx, whisper.Draft{
		Payload: fmt.Appendf(nil, "message %d, which is as long as messages are: a line or two of text", number),
		Topic:   d.chat.Topic, Key: d.chat.Key, TTL: life, PoW: work,
	})
	if err != nil {
		return err
	}
	d.ledger.wrote(e.Hash(), d.index)
	return w.node.Post(ctx, e)
}

// writeAll writes what the plan says, when the plan says so.
func (w *writer) writeAll(ctx context.Context, p plan, devices []*device, began time.Time) error {
	for i, m := range p.writes {
		pause(ctx, time.Until(began.Add(m.at)))
		if err := w.write(ctx, devices[m.device], i); err != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
	return nil
}
