package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/whisper/mailserver"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

const (
	mailPassword = "whisperpush vector mailserver"
	mailEpoch    = 1_600_000_000
)

// mailRequestCase is a request to the mailserver and its answer.
type mailRequestCase struct {
	Name     string        `json:"name"`
	Password string        `json:"password"`
	Key      hexutil.Bytes `json:"key"`
	SignKey  hexutil.Bytes `json:"signKey,omitempty"`
	// MinPoW is what the mailserver asks of a request.
	MinPoW float64 `json:"minPoW"`
	// Payload is what the envelope in Packet carries, encrypted.
	Payload hexutil.Bytes `json:"payload"`
	// Packet is the whole payload of the packet 126.
	Packet hexutil.Bytes `json:"packet"`
	Hash   common.Hash   `json:"hash"`
	// Answers are the hashes of the packets 127, in order.
	Answers []common.Hash `json:"answers"`
	Kept    bool          `json:"kept"`
	// Panics says that the genuine mailserver crashed on the request.
	Panics bool `json:"panics,omitempty"`
}

func mailRequests() (cases, archive interface{}, err error) {
	var (
		bob      = topic("0xb0b00001")
		carol    = topic("0xca401000")
		collided = topic("0x10178300")
		stored   []*whisper.Envelope
		listed   []envelopeCase
	)
	for i, s := range []struct {
		name  string
		sent  uint32
		ttl   uint32
		topic whisper.TopicType
	}{
		{"bob's first", mailEpoch, 50, bob},
		{"carol's, same second", mailEpoch, 10, carol},
		{"bob's, one second later", mailEpoch + 1, 50, bob},
		{"collided topic", mailEpoch + 10, 50, collided},
		{"bob's, long ttl", mailEpoch + 100, 86400, bob},
		{"sent at the epoch", 0, 50, bob},
		{"sent at the end of time", math.MaxUint32, 0, bob},
	} {
		env := &whisper.Envelope{Expiry: s.sent + s.ttl, TTL: s.ttl, Topic: s.topic, Data: fill(40 + i), Nonce: uint64(i)}
		c, err := describe(s.name, env)
		if err != nil {
			return nil, nil, err
		}
		stored, listed = append(stored, env), append(listed, c)
	}

	span := func(lower, upper uint32, tail ...[]byte) []byte {
		b := make([]byte, 8)
		binary.BigEndian.PutUint32(b, lower)
		binary.BigEndian.PutUint32(b[4:], upper)
		for _, t := range tail {
			b = append(b, t...)
		}
		return b
	}
	var (
		all = whisper.MakeFullNodeBloom()
		end = uint32(math.MaxUint32)
	)
	in := []struct {
		mailRequestCase
		unsigned bool
		symKey   []byte
		asym     bool
		pow      float64
	}{
		{mailRequestCase: mailRequestCase{Name: "8 bytes: everything in the range", Payload: span(mailEpoch, mailEpoch+1000)}},
		{mailRequestCase: mailRequestCase{Name: "72 bytes, full bloom", Payload: span(mailEpoch, mailEpoch+1000, all)}},
		{mailRequestCase: mailRequestCase{Name: "72 bytes, one topic", Payload: span(mailEpoch, mailEpoch+1000, whisper.TopicToBloom(bob))}},
		{mailRequestCase: mailRequestCase{Name: "72 bytes, collided topic as the genuine client asks", Payload: span(mailEpoch, mailEpoch+1000, whisper.TopicToBloom(collided))}},
		{mailRequestCase: mailRequestCase{Name: "72 bytes, empty bloom", Payload: span(mailEpoch, mailEpoch+1000, make([]byte, 64))}},
		{mailRequestCase: mailRequestCase{Name: "one second", Payload: span(mailEpoch, mailEpoch)}},
		{mailRequestCase: mailRequestCase{Name: "upper bound is inclusive", Payload: span(mailEpoch+1, mailEpoch+10)}},
		{mailRequestCase: mailRequestCase{Name: "nothing there", Payload: span(mailEpoch+2, mailEpoch+9)}},
		{mailRequestCase: mailRequestCase{Name: "lower above upper", Payload: span(mailEpoch+1000, mailEpoch)}},
		{mailRequestCase: mailRequestCase{Name: "from zero", Payload: span(0, mailEpoch)}},
		{mailRequestCase: mailRequestCase{Name: "upper all ones: wraps to an empty range", Payload: span(0, end)}},
		{mailRequestCase: mailRequestCase{Name: "upper all ones less one", Payload: span(0, end-1)}},
		{mailRequestCase: mailRequestCase{Name: "upper zero: second zero alone", Payload: span(0, 0)}},
		{mailRequestCase: mailRequestCase{Name: "7 bytes", Payload: span(mailEpoch, mailEpoch+1000)[:7]}},
		{mailRequestCase: mailRequestCase{Name: "no payload", Payload: []byte{}}},
		{mailRequestCase: mailRequestCase{Name: "9 bytes", Payload: span(mailEpoch, mailEpoch+1000, []byte{1})}},
		{mailRequestCase: mailRequestCase{Name: "71 bytes", Payload: span(mailEpoch, mailEpoch+1000, all[:63])}},
		{mailRequestCase: mailRequestCase{Name: "73 bytes: the rest is not read", Payload: span(mailEpoch, mailEpoch+1000, all, []byte{9})}},
		{mailRequestCase: mailRequestCase{Name: "76 bytes, status-go's limit of 1: not read", Payload: span(mailEpoch, mailEpoch+1000, all, []byte{0, 0, 0, 1})}},
		{mailRequestCase: mailRequestCase{Name: "not signed", Payload: span(mailEpoch, mailEpoch+1000)}, unsigned: true},
		{mailRequestCase: mailRequestCase{Name: "another password's key", Payload: span(mailEpoch, mailEpoch+1000)}, symKey: symKeyFor("wrong")},
		{mailRequestCase: mailRequestCase{Name: "encrypted to a public key", Payload: span(mailEpoch, mailEpoch+1000)}, asym: true},
		{mailRequestCase: mailRequestCase{Name: "PoW below the mailserver's", Payload: span(mailEpoch, mailEpoch+1000), MinPoW: 1}, pow: 0},
		{mailRequestCase: mailRequestCase{Name: "PoW above the mailserver's", Payload: span(mailEpoch, mailEpoch+1000), MinPoW: 0.5}, pow: 0.6},
	}

	var out []mailRequestCase
	for _, r := range in {
		c := r.mailRequestCase
		server, shh, done, err := newMailserver(c.MinPoW, stored)
		if err != nil {
			return nil, nil, err
		}
		c.Password = mailPassword
		if c.Key, err = passwordKey(mailPassword); err != nil {
			return nil, nil, err
		}
		p := whisper.MessageParams{Payload: c.Payload, KeySym: c.Key, PoW: r.pow, WorkTime: 20}
		if r.symKey != nil {
			p.KeySym = r.symKey
		}
		if r.asym {
			p.KeySym, p.Dst = nil, &keyFor("node").PublicKey
		}
		if !r.unsigned {
			p.Src = keyFor("mail client")
			c.SignKey = crypto.FromECDSA(p.Src)
		}
		env, err := seal(p)
		if err != nil {
			return nil, nil, err
		}
		if err := c.ask(shh, env); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		out = append(out, c)
		server.Close()
		done()
	}

	crash, err := crashRequest(stored)
	if err != nil {
		return nil, nil, err
	}
	return append(out, crash), listed, nil
}

// ask sends the request over a link and records the answer.
func (c *mailRequestCase) ask(shh *whisper.Whisper, env *whisper.Envelope) error {
	raw, err := rlp.EncodeToBytes(env)
	if err != nil {
		return err
	}
	c.Packet, c.Hash, c.Answers = raw, env.Hash(), []common.Hash{}
	l := connect(shh)
	defer l.close()
	if err := l.handshake(); err != nil {
		return err
	}
	c.Kept = l.send(requestCode, raw) && l.alive()
	for _, p := range l.received() {
		if p.code != directCode {
			continue
		}
		var e whisper.Envelope
		if err := rlp.DecodeBytes(p.payload, &e); err != nil {
			return err
		}
		c.Answers = append(c.Answers, e.Hash())
	}
	return nil
}

// crashRequest is the request with which any holder of the password can stop
// the genuine mailserver: its plaintext ends inside the payload size field. The
// handler runs directly here, because a panic on its own goroutine would end
// this process as it ends the genuine one.
func crashRequest(stored []*whisper.Envelope) (mailRequestCase, error) {
	c := mailRequestCase{Name: "payload size field cut off", Password: mailPassword, Payload: []byte{}, Answers: []common.Hash{}}
	server, _, done, err := newMailserver(0, stored)
	if err != nil {
		return c, err
	}
	defer done()
	defer server.Close()
	if c.Key, err = passwordKey(mailPassword); err != nil {
		return c, err
	}
	env := &whisper.Envelope{Expiry: mailEpoch + 50, TTL: 50, Data: gcm(c.Key, []byte{3, 1})}
	if c.Packet, err = rlp.EncodeToBytes(env); err != nil {
		return c, err
	}
	c.Hash = env.Hash()
	func() {
		defer func() { c.Panics = recover() != nil }()
		env.Open(&whisper.Filter{KeySym: c.Key}) // the mailserver's first act on a request
	}()
	return c, nil
}

func newMailserver(minPoW float64, stored []*whisper.Envelope) (*mailserver.WMailServer, *whisper.Whisper, func(), error) {
	dir, err := os.MkdirTemp("", "vectors")
	if err != nil {
		return nil, nil, nil, err
	}
	shh := whisper.StandaloneWhisperService(nil)
	server := new(mailserver.WMailServer)
	if err := server.Init(shh, dir, mailPassword, minPoW); err != nil {
		return nil, nil, nil, err
	}
	for _, e := range stored {
		server.Archive(e)
	}
	shh.RegisterServer(server)
	return server, shh, func() { os.RemoveAll(dir) }, nil
}

func passwordKey(password string) ([]byte, error) {
	shh := whisper.StandaloneWhisperService(nil)
	id, err := shh.AddSymKeyFromPassword(password)
	if err != nil {
		return nil, err
	}
	return shh.GetSymKey(id)
}
