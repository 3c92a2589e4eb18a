package main

import (
	"fmt"
	"math"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rlp"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// packetCase is a packet the genuine node sent and what it was made from.
type packetCase struct {
	Name    string         `json:"name"`
	Code    uint64         `json:"code"`
	Payload hexutil.Bytes  `json:"payload"`
	Version uint64         `json:"version,omitempty"`
	PoW     *float         `json:"pow,omitempty"`
	Bloom   *hexutil.Bytes `json:"bloom,omitempty"`
	Light   *bool          `json:"light,omitempty"`
	// Envelopes are the hashes of those inside, in order.
	Envelopes []common.Hash `json:"envelopes,omitempty"`
}

func sentPackets() ([]packetCase, error) {
	var cases []packetCase
	for _, s := range []struct {
		name  string
		pow   float64
		bloom []byte
		light bool
	}{
		{"status of a full node, default PoW", whisper.DefaultMinimumPoW, nil, false},
		{"status, PoW 0", 0, nil, false},
		{"status, PoW 0.002, bloom", 0.002, whisper.TopicToBloom(topic("0x01428300")), false},
		{"status of a light node", whisper.DefaultMinimumPoW, whisper.TopicToBloom(topic("0x10178300")), true},
		{"status, bloom all ones", 1, whisper.MakeFullNodeBloom(), false},
		{"status, bloom all zeros", 1, make([]byte, whisper.BloomFilterSize), true},
	} {
		shh := whisper.StandaloneWhisperService(&whisper.Config{MaxMessageSize: whisper.DefaultMaxMessageSize, MinimumAcceptedPOW: s.pow})
		if s.bloom != nil {
			if err := shh.SetBloomFilter(s.bloom); err != nil {
				return nil, err
			}
		}
		shh.SetLightClientMode(s.light)
		l := connect(shh)
		p, err := l.await(statusCode)
		if err != nil {
			return nil, err
		}
		pow, bloom, light := newFloat(s.pow), hexutil.Bytes(orEmpty(s.bloom)), s.light
		cases = append(cases, packetCase{Name: s.name, Code: p.code, Payload: p.payload, Version: whisper.ProtocolVersion, PoW: &pow, Bloom: &bloom, Light: &light})
		l.close()
	}

	running := func(name string, code uint64, act func(*whisper.Whisper) (packetCase, error)) error {
		shh := whisper.StandaloneWhisperService(nil)
		l := connect(shh)
		defer l.close()
		if err := l.handshake(); err != nil {
			return err
		}
		c, err := act(shh)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p, err := l.await(code)
		c.Name, c.Code, c.Payload = name, code, p.payload
		cases = append(cases, c)
		return err
	}
	for _, pow := range []float64{0, 0.2, 0.002, 1, 5.5, math.MaxFloat64} {
		err := running(fmt.Sprintf("PoW requirement %g", pow), powCode, func(shh *whisper.Whisper) (packetCase, error) {
			f := newFloat(pow)
			shh.SetMinimumPowTest(pow)
			return packetCase{PoW: &f}, nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, t := range []string{"0x01428300", "0x10178300", "0xffffffff"} {
		err := running("bloom filter of topic "+t, bloomCode, func(shh *whisper.Whisper) (packetCase, error) {
			b := hexutil.Bytes(whisper.TopicToBloom(topic(t)))
			return packetCase{Bloom: &b}, shh.SetBloomFilter(b)
		})
		if err != nil {
			return nil, err
		}
	}
	sealed := func(payload string) (*whisper.Envelope, error) {
		return seal(whisper.MessageParams{TTL: 50, KeySym: symKeyFor("packet"), Topic: topic("0xcafe0003"), PoW: 0.3, WorkTime: 20, Payload: []byte(payload)})
	}
	err := running("messages, one envelope", messages, func(shh *whisper.Whisper) (packetCase, error) {
		env, err := sealed("one")
		if err != nil {
			return packetCase{}, err
		}
		return packetCase{Envelopes: []common.Hash{env.Hash()}}, shh.Send(env)
	})
	if err != nil {
		return nil, err
	}
	if c, err := bundleOfThree(sealed); err != nil {
		return nil, err
	} else {
		cases = append(cases, c)
	}
	err = running("mail request", requestCode, func(shh *whisper.Whisper) (packetCase, error) {
		env, err := sealed("request")
		if err != nil {
			return packetCase{}, err
		}
		return packetCase{Envelopes: []common.Hash{env.Hash()}}, shh.RequestHistoricMessages(peerID[:], env)
	})
	if err != nil {
		return nil, err
	}
	err = running("direct message", directCode, func(shh *whisper.Whisper) (packetCase, error) {
		env, err := sealed("direct")
		if err != nil {
			return packetCase{}, err
		}
		return packetCase{Envelopes: []common.Hash{env.Hash()}}, shh.SendP2PMessage(peerID[:], env)
	})
	return cases, err
}

// bundleOfThree captures a messages packet of several envelopes. They are in
// the pool before the peer connects, so that one cycle sends them all; their
// order is the genuine node's (that of a Go map).
func bundleOfThree(sealed func(string) (*whisper.Envelope, error)) (packetCase, error) {
	shh := whisper.StandaloneWhisperService(nil)
	for _, payload := range []string{"first", "second", "third"} {
		env, err := sealed(payload)
		if err == nil {
			err = shh.Send(env)
		}
		if err != nil {
			return packetCase{}, err
		}
	}
	l := connect(shh)
	defer l.close()
	if err := l.handshake(); err != nil {
		return packetCase{}, err
	}
	p, err := l.await(messages)
	if err != nil {
		return packetCase{}, err
	}
	var envs []*whisper.Envelope
	if err := rlp.DecodeBytes(p.payload, &envs); err != nil {
		return packetCase{}, err
	}
	c := packetCase{Name: "messages, three envelopes", Code: messages, Payload: p.payload}
	for _, e := range envs {
		c.Envelopes = append(c.Envelopes, e.Hash())
	}
	return c, nil
}

// receivedCase is a packet given to the genuine node after the handshake, or as
// the handshake if its code is that of the status.
type receivedCase struct {
	Name    string        `json:"name"`
	Code    uint64        `json:"code"`
	Payload hexutil.Bytes `json:"payload"`
	// AfterStatus tells that an ordinary status went before.
	AfterStatus bool `json:"afterStatus"`
	// Trusted tells that the genuine node trusts the peer for direct messages.
	Trusted bool `json:"trusted,omitempty"`
	// MaxMessageSize is the genuine node's limit if not the default 1 MiB.
	MaxMessageSize uint32 `json:"maxMessageSize,omitempty"`
	Kept           bool   `json:"kept"`
	Error          string `json:"error,omitempty"`
}

func receivedPackets() ([]receivedCase, error) {
	enc := func(v interface{}) []byte {
		b, err := rlp.EncodeToBytes(v)
		if err != nil {
			panic(err)
		}
		return b
	}
	type list = []interface{}
	var (
		bits  = math.Float64bits
		bloom = whisper.TopicToBloom(topic("0x01428300"))
		old   = &whisper.Envelope{Expiry: 1_600_000_050, TTL: 50, Topic: topic("0x01020304"), Data: fill(20), Nonce: 7}
	)
	in := []receivedCase{
		{Name: "status", Payload: enc(list{uint(6), bits(0.2), bloom, false})},
		{Name: "status, version alone", Payload: enc(list{uint(6)})},
		{Name: "status, no bloom", Payload: enc(list{uint(6), bits(0.2)})},
		{Name: "status, no light flag", Payload: enc(list{uint(6), bits(0.2), bloom})},
		{Name: "status, empty bloom", Payload: enc(list{uint(6), bits(0.2), []byte{}, false})},
		{Name: "status, PoW zero", Payload: enc(list{uint(6), uint64(0), []byte{}, false})},
		{Name: "status, fifth field", Payload: enc(list{uint(6), bits(0.2), bloom, false, true})},
		{Name: "status, fields of the future", Payload: enc(list{uint(6), bits(0.2), bloom, false, true, list{uint(1), "x"}, "y"})},
		{Name: "status, light flag is a string", Payload: enc(list{uint(6), bits(0.2), bloom, "light"})},
		{Name: "status, light flag 2", Payload: enc(list{uint(6), bits(0.2), bloom, uint(2)})},
		{Name: "status, light node", Payload: enc(list{uint(6), bits(0.2), bloom, true})},
		{Name: "status, version 5", Payload: enc(list{uint(5), bits(0.2), bloom, false})},
		{Name: "status, version 7", Payload: enc(list{uint(7), bits(0.2), bloom, false})},
		{Name: "status, version is a string", Payload: enc(list{"six!"})},
		{Name: "status, empty list", Payload: enc(list{})},
		{Name: "status, not a list", Payload: enc(uint64(6))},
		{Name: "status, empty payload", Payload: []byte{}},
		{Name: "status, PoW NaN", Payload: enc(list{uint(6), bits(math.NaN()), bloom, false})},
		{Name: "status, PoW +Inf", Payload: enc(list{uint(6), bits(math.Inf(1)), bloom, false})},
		{Name: "status, PoW negative", Payload: enc(list{uint(6), bits(-1), bloom, false})},
		{Name: "status, PoW minus zero", Payload: enc(list{uint(6), bits(math.Copysign(0, -1)), bloom, false})},
		{Name: "status, PoW is a long string", Payload: enc(list{uint(6), bytes9, bloom, false})},
		{Name: "status, PoW is a list", Payload: enc(list{uint(6), list{}, bloom, false})},
		{Name: "status, bloom of 63 bytes", Payload: enc(list{uint(6), bits(0.2), bloom[:63], false})},
		{Name: "status, bloom of 65 bytes", Payload: enc(list{uint(6), bits(0.2), append(bloom[:64:64], 0), false})},
		{Name: "status, bloom is a list", Payload: enc(list{uint(6), bits(0.2), list{}, false})},
		{Name: "status, bytes after the list", Payload: append(enc(list{uint(6), bits(0.2), bloom, false}), 1, 2, 3)},
		{Name: "messages before status", Code: messages, Payload: enc(list{})},
		{Name: "unknown packet before status", Code: 50, Payload: enc(list{})},
	}
	after := []receivedCase{
		{Name: "second status", Code: statusCode, Payload: enc(list{uint(6), bits(0.2), bloom, false})},
		{Name: "second status, malformed", Code: statusCode, Payload: []byte{0xff}},
		{Name: "messages, none", Code: messages, Payload: enc(list{})},
		{Name: "messages, empty payload", Code: messages, Payload: []byte{}},
		{Name: "messages, not a list", Code: messages, Payload: enc("abc")},
		{Name: "messages, one empty list", Code: messages, Payload: enc(list{list{}})},
		{Name: "messages, one empty string", Code: messages, Payload: enc(list{""})},
		{Name: "messages, envelope without a list around it", Code: messages, Payload: enc(old)},
		{Name: "messages, bytes after the list", Code: messages, Payload: append(enc(list{}), 0)},
		{Name: "messages, one long expired envelope", Code: messages, Payload: enc(list{old})},
		{Name: "messages, above the size limit", Code: messages, Payload: enc(list{&whisper.Envelope{Data: fill(200)}}), MaxMessageSize: 200},
		{Name: "unknown packet above the size limit", Code: 50, Payload: enc(fill(300)), MaxMessageSize: 200},
		{Name: "unknown packet, empty payload, at a size limit of 1", Code: 50, Payload: []byte{}, MaxMessageSize: 1},
		{Name: "PoW 0.5", Code: powCode, Payload: enc(bits(0.5))},
		{Name: "PoW 0", Code: powCode, Payload: enc(uint64(0))},
		{Name: "PoW NaN", Code: powCode, Payload: enc(bits(math.NaN()))},
		{Name: "PoW +Inf", Code: powCode, Payload: enc(bits(math.Inf(1)))},
		{Name: "PoW -Inf", Code: powCode, Payload: enc(bits(math.Inf(-1)))},
		{Name: "PoW negative", Code: powCode, Payload: enc(bits(-0.5))},
		{Name: "PoW minus zero", Code: powCode, Payload: enc(bits(math.Copysign(0, -1)))},
		{Name: "PoW of 9 bytes", Code: powCode, Payload: enc(bytes9)},
		{Name: "PoW with leading zero", Code: powCode, Payload: []byte{0x82, 0, 1}},
		{Name: "PoW is a list", Code: powCode, Payload: enc(list{})},
		{Name: "PoW, empty payload", Code: powCode, Payload: []byte{}},
		{Name: "PoW, bytes after it", Code: powCode, Payload: append(enc(bits(0.5)), 7)},
		{Name: "bloom", Code: bloomCode, Payload: enc(bloom)},
		{Name: "bloom, all zeros", Code: bloomCode, Payload: enc(make([]byte, 64))},
		{Name: "bloom, empty", Code: bloomCode, Payload: enc([]byte{})},
		{Name: "bloom of 63 bytes", Code: bloomCode, Payload: enc(bloom[:63])},
		{Name: "bloom of 65 bytes", Code: bloomCode, Payload: enc(append(bloom[:64:64], 0))},
		{Name: "bloom is a list", Code: bloomCode, Payload: enc(list{})},
		{Name: "bloom, empty payload", Code: bloomCode, Payload: []byte{}},
		{Name: "bloom, bytes after it", Code: bloomCode, Payload: append(enc(bloom), 0)},
		{Name: "mail request to a node without a mailserver", Code: requestCode, Payload: enc(old)},
		{Name: "malformed mail request to a node without a mailserver", Code: requestCode, Payload: []byte{0xff}},
		{Name: "direct message, not trusted", Code: directCode, Payload: enc(old)},
		{Name: "malformed direct message, not trusted", Code: directCode, Payload: []byte{0xff}},
		{Name: "direct message, trusted", Code: directCode, Payload: enc(old), Trusted: true},
		{Name: "malformed direct message, trusted", Code: directCode, Payload: []byte{0xff}, Trusted: true},
		{Name: "direct messages as a list, trusted", Code: directCode, Payload: enc(list{old}), Trusted: true},
	}
	for _, code := range []uint64{4, 11, 12, 20, 123, 124, 125} {
		after = append(after, receivedCase{Name: fmt.Sprintf("code %d", code), Code: code, Payload: []byte{0xff, 0x01}})
	}
	for i := range after {
		after[i].AfterStatus = true
	}
	cases := append(in, after...)
	for i := range cases {
		if err := cases[i].try(); err != nil {
			return nil, fmt.Errorf("%s: %w", cases[i].Name, err)
		}
	}
	return cases, nil
}

// bytes9 is one byte too long for a uint64.
var bytes9 = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}

func (c *receivedCase) try() error {
	cfg := whisper.DefaultConfig
	shh := whisper.StandaloneWhisperService(&cfg)
	l := connect(shh)
	defer l.close()
	if c.AfterStatus {
		if err := l.handshake(); err != nil {
			return err
		}
	}
	if c.Trusted {
		if err := shh.AllowP2PMessagesFromPeer(peerID[:]); err != nil {
			return err
		}
	}
	if c.MaxMessageSize != 0 {
		if err := shh.SetMaxMessageSize(c.MaxMessageSize); err != nil {
			return err
		}
	}
	if c.Kept = l.send(c.Code, c.Payload) && l.alive(); !c.Kept {
		<-l.end
		c.Error = l.err.Error()
	}
	return nil
}
