package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// Packet codes of shh/6, EIP-627 "Packet Codes". pingCode is one that no
// version of the protocol assigned. The genuine node ignores it, so once it was
// read, the link still lives and everything before it was processed.
const (
	statusCode  = 0
	messages    = 1
	powCode     = 2
	bloomCode   = 3
	pingCode    = 99
	requestCode = 126
	directCode  = 127
)

type packet struct {
	code    uint64
	payload []byte
}

// link is an in-memory connection to the genuine protocol handler.
type link struct {
	rw  *p2p.MsgPipeRW
	end chan struct{} // closed when the handler returned
	err error         // why, valid once end is closed

	mu  sync.Mutex // guards got
	got []packet
}

// peerID is how the genuine node knows the other end of a link.
var peerID = enode.ID{0x01}

// connect runs the genuine handler on one end of a pipe and records on the
// other what it sends. The caller's status packet is not sent yet.
func connect(shh *whisper.Whisper) *link {
	ours, theirs := p2p.MsgPipe()
	l := &link{rw: ours, end: make(chan struct{})}
	go func() {
		l.err = shh.HandlePeer(p2p.NewPeer(peerID, "vectors", nil), theirs)
		close(l.end)
		theirs.Close()
	}()
	go func() {
		for {
			msg, err := l.rw.ReadMsg()
			if err != nil {
				return
			}
			// Locked before the payload is consumed: its sender only goes on
			// then, so whoever looks after that sees the packet.
			l.mu.Lock()
			payload, err := io.ReadAll(msg.Payload)
			if err == nil {
				l.got = append(l.got, packet{msg.Code, payload})
			}
			l.mu.Unlock()
		}
	}()
	return l
}

// send writes one packet. It reports false if the genuine node dropped the link.
func (l *link) send(code uint64, payload []byte) bool {
	err := l.rw.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
	return err == nil
}

// handshake sends a full node's status.
func (l *link) handshake() error {
	status, err := rlp.EncodeToBytes([]interface{}{whisper.ProtocolVersion, uint64(0), []byte{}, false})
	if err != nil {
		return err
	}
	if !l.send(statusCode, status) || !l.alive() {
		return fmt.Errorf("handshake: %v", l.err)
	}
	return nil
}

// alive waits until everything sent was processed and reports whether the
// genuine node kept the link.
func (l *link) alive() bool {
	if l.send(pingCode, []byte{0xc0}) && l.send(pingCode, []byte{0xc0}) {
		return true
	}
	<-l.end
	return false
}

func (l *link) received() []packet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]packet(nil), l.got...)
}

// await returns the first packet with this code, which the genuine node may
// send as late as its next cycle.
func (l *link) await(code uint64) (packet, error) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, p := range l.received() {
			if p.code == code {
				return p, nil
			}
		}
	}
	return packet{}, fmt.Errorf("no packet %d within 5 s", code)
}

func (l *link) close() {
	l.rw.Close()
	<-l.end
}
