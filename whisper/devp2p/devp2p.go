// Package devp2p makes a whisper.Node a protocol of go-ethereum's p2p.Server,
// which listens, dials and finds peers for it.
package devp2p

import (
	"errors"
	"net"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/whisper"
)

// Protocol returns what p2p.Config.Protocols needs to run shh/6 with n.
func Protocol(n *whisper.Node) p2p.Protocol {
	return p2p.Protocol{
		Name:    whisper.ProtocolName,
		Version: whisper.ProtocolVersion,
		Length:  whisper.ProtocolLength,
		Run: func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
			return reason(n.Run(&link{peer, rw}))
		},
		NodeInfo: func() any { return n.Info() },
		PeerInfo: func(id enode.ID) any {
			if info, ok := n.Peer(id); ok {
				return info
			}
			return nil
		},
	}
}

// link is a peer of the p2p.Server.
type link struct {
	peer *p2p.Peer
	rw   p2p.MsgReadWriter
}

var _ whisper.Link = (*link)(nil)

func (l *link) ID() enode.ID            { return l.peer.ID() }
func (l *link) RemoteAddr() net.Addr    { return l.peer.RemoteAddr() }
func (l *link) Inbound() bool           { return l.peer.Inbound() && !l.peer.Trusted() }
func (l *link) Disconnect(reason error) { l.peer.Disconnect(discReason(reason)) }

func (l *link) ReadPacket() (whisper.Packet, error) {
	msg, err := l.rw.ReadMsg()
	return whisper.Packet{Code: msg.Code, Size: msg.Size, Payload: msg.Payload}, err
}

func (l *link) WritePacket(p whisper.Packet) error {
	return l.rw.WriteMsg(p2p.Msg{Code: p.Code, Size: p.Size, Payload: p.Payload})
}

// reason turns what ended a link into the disconnect reason for the peer, if
// devp2p has one. devp2p reports everything else as an error of the
// subprotocol.
func reason(err error) error {
	switch {
	case errors.Is(err, whisper.ErrNotRunning):
		return p2p.DiscQuitting
	case errors.Is(err, whisper.ErrConnected):
		return p2p.DiscAlreadyConnected
	case errors.Is(err, whisper.ErrFull):
		return p2p.DiscTooManyPeers
	}
	return err
}

func discReason(err error) p2p.DiscReason {
	if r, ok := reason(err).(p2p.DiscReason); ok {
		return r
	}
	return p2p.DiscSubprotocolError
}
