package whisper

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/ethereum/go-ethereum/rlp"
)

// status is the first message that the two ends of a link send each
// other (EIP-627, "Status").
type status struct {
	minPoW float64
	bloom  Bloom
	light  bool // does not pass on what it receives
}

// encode returns the payload of a status packet.
func (s status) encode() []byte {
	b, err := rlp.EncodeToBytes([]any{uint64(ProtocolVersion), math.Float64bits(s.minPoW), s.bloom[:], s.light})
	if err != nil {
		panic("whisper: internal error: status without RLP: " + err.Error())
	}
	return b
}

// decodeStatus reads a status packet. Only the version is mandatory; without a
// bloom filter the peer wants every topic. Elements beyond the fourth belong to
// extensions (status-go has one) and are ignored. An error wraps ErrHandshake.
func decodeStatus(payload []byte) (status, error) {
	s := status{bloom: FullBloom()}
	content, _, err := rlp.SplitList(payload)
	if err != nil {
		return s, fmt.Errorf("%w: status of %d bytes: %v", ErrHandshake, len(payload), err)
	}
	version, content, err := rlp.SplitUint64(content)
	if err != nil {
		return s, fmt.Errorf("%w: version: %v", ErrHandshake, err)
	}
	if version != ProtocolVersion {
		return s, fmt.Errorf("%w: version %d (!= %d)", ErrHandshake, version, ProtocolVersion)
	}
	if len(content) == 0 {
		return s, nil
	}
	bits, content, err := rlp.SplitUint64(content)
	if err != nil {
		return s, fmt.Errorf("%w: proof of work: %v", ErrHandshake, err)
	}
	s.minPoW = math.Float64frombits(bits)
	if err := checkPoW(s.minPoW); err != nil {
		return s, fmt.Errorf("%w: %v", ErrHandshake, err)
	}
	if len(content) == 0 {
		return s, nil
	}
	bloom, content, err := rlp.SplitString(content)
	if err != nil {
		return s, fmt.Errorf("%w: bloom filter: %v", ErrHandshake, err)
	}
	switch len(bloom) {
	case BloomSize:
		s.bloom = Bloom(bloom)
	case 0:
	default:
		return s, fmt.Errorf("%w: bloom filter of %d bytes (!= %d)", ErrHandshake, len(bloom), BloomSize)
	}
	if len(content) == 0 {
		return s, nil
	}
	light, _, err := rlp.SplitUint64(content)
	if err != nil || light > 1 {
		return s, fmt.Errorf("%w: light node flag is no boolean", ErrHandshake)
	}
	s.light = light == 1
	return s, nil
}

// handshake exchanges the status packets, both ways at once, as the protocol does
// not say which side sends first. A failure ends the link, which unblocks a read
// or write that still waits for it.
func handshake(ctx context.Context, link Link, ours status) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var theirs status
	results := make(chan error, 2)
	go func() { results <- writePacket(link, StatusPacket, ours.encode()) }()
	go func() {
		var err error
		theirs, err = readStatus(link)
		results <- err
	}()
	var failure error
	for range 2 {
		select {
		case err := <-results:
			if failure == nil {
				failure = err
			}
		case <-ctx.Done():
			failure = fmt.Errorf("%w: %w", ErrHandshake, ctx.Err())
			link.Disconnect(failure)
			<-results
			ctx = context.Background()
		}
		if failure != nil {
			link.Disconnect(failure)
		}
	}
	return theirs, failure
}

func readStatus(link Link) (status, error) {
	packet, err := link.ReadPacket()
	if err != nil {
		return status{}, err
	}
	defer packet.discard()
	if packet.Code != StatusPacket {
		return status{}, fmt.Errorf("%w: first packet has code %d (!= %d)", ErrHandshake, packet.Code, StatusPacket)
	}
	if packet.Size > maxStatusPacket {
		return status{}, fmt.Errorf("%w: status of %d bytes (> %d)", ErrHandshake, packet.Size, maxStatusPacket)
	}
	payload := make([]byte, packet.Size)
	if _, err := io.ReadFull(packet.Payload, payload); err != nil {
		return status{}, err
	}
	return decodeStatus(payload)
}
