package main

import (
	"errors"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rlp"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

type envelopeCase struct {
	Name   string            `json:"name"`
	Expiry uint32            `json:"expiry"`
	TTL    uint32            `json:"ttl"`
	Topic  whisper.TopicType `json:"topic"`
	Data   hexutil.Bytes     `json:"data"`
	Nonce  hexutil.Uint64    `json:"nonce"`
	RLP    hexutil.Bytes     `json:"rlp"`
	Hash   common.Hash       `json:"hash"`
	Sent   uint32            `json:"sent"`
	Size   int               `json:"size"`
	PoW    float             `json:"pow"`
	Bloom  hexutil.Bytes     `json:"bloom"`
}

// describe records what the genuine node says of env. A copy is measured, so
// that nothing cached by an earlier use (a PoW with lag) is seen.
func describe(name string, env *whisper.Envelope) (envelopeCase, error) {
	raw, err := rlp.EncodeToBytes(env)
	if err != nil {
		return envelopeCase{}, err
	}
	var fresh whisper.Envelope
	if err := rlp.DecodeBytes(raw, &fresh); err != nil {
		return envelopeCase{}, err
	}
	return envelopeCase{
		Name: name, Expiry: fresh.Expiry, TTL: fresh.TTL, Topic: fresh.Topic, Data: fresh.Data,
		Nonce: hexutil.Uint64(fresh.Nonce), RLP: raw, Hash: fresh.Hash(), Sent: fresh.Expiry - fresh.TTL,
		Size: whisper.EnvelopeHeaderLength + len(fresh.Data), PoW: newFloat(fresh.PoW()), Bloom: fresh.Bloom(),
	}, nil
}

func envelopes() ([]envelopeCase, error) {
	var cases []envelopeCase
	add := func(name string, env *whisper.Envelope) error {
		c, err := describe(name, env)
		cases = append(cases, c)
		return err
	}

	const base = 1_600_000_000
	made := []struct {
		name string
		env  whisper.Envelope
	}{
		{"ordinary", whisper.Envelope{Expiry: base + 50, TTL: 50, Topic: topic("0xdeadbeef"), Data: fill(300), Nonce: 12345}},
		{"no data", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0x01020304")}},
		{"one data byte below 0x80", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0x01020304"), Data: []byte{0x7f}}},
		{"one data byte 0x80", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0x01020304"), Data: []byte{0x80}}},
		{"one data byte zero", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0x01020304"), Data: []byte{0}}},
		{"55 data bytes, last short string", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0x01020304"), Data: fill(55)}},
		{"56 data bytes, first long string", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0x01020304"), Data: fill(56)}},
		{"256 data bytes, two length bytes", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0x01020304"), Data: fill(256)}},
		{"zero topic", whisper.Envelope{Expiry: base, TTL: 50, Data: fill(16)}},
		{"highest nonce", whisper.Envelope{Expiry: base, TTL: 50, Topic: topic("0xffffffff"), Data: fill(16), Nonce: math.MaxUint64}},
		{"ttl 0, infinite PoW", whisper.Envelope{Expiry: base, TTL: 0, Topic: topic("0x01020304"), Data: fill(16)}},
		{"ttl 1", whisper.Envelope{Expiry: base, TTL: 1, Topic: topic("0x01020304"), Data: fill(16)}},
		{"ttl above expiry, sent time wraps", whisper.Envelope{Expiry: 10, TTL: 20, Topic: topic("0x01020304"), Data: fill(16)}},
		{"ttl equals expiry", whisper.Envelope{Expiry: base, TTL: base, Topic: topic("0x01020304"), Data: fill(16)}},
		{"highest expiry", whisper.Envelope{Expiry: math.MaxUint32, TTL: 50, Topic: topic("0x01020304"), Data: fill(16)}},
		{"highest expiry and ttl", whisper.Envelope{Expiry: math.MaxUint32, TTL: math.MaxUint32, Topic: topic("0x01020304"), Data: fill(16)}},
		{"everything zero", whisper.Envelope{}},
	}
	for _, m := range made {
		if err := add(m.name, &m.env); err != nil {
			return nil, err
		}
	}

	for _, s := range []struct {
		name string
		pow  float64
		ttl  uint32
	}{
		{"sealed, no PoW asked", 0, 50}, {"sealed, PoW 0.2", 0.2, 50}, {"sealed, PoW 2", 2, 10}, {"sealed, PoW 0.001", 0.001, 3600},
	} {
		env, err := seal(whisper.MessageParams{TTL: s.ttl, KeySym: symKeyFor("envelope"), Topic: topic("0xcafe0001"),
			PoW: s.pow, WorkTime: 20, Payload: []byte(s.name)})
		if err != nil {
			return nil, err
		}
		if err := add(s.name, env); err != nil {
			return nil, err
		}
	}
	return cases, nil
}

func seal(p whisper.MessageParams) (*whisper.Envelope, error) {
	msg, err := whisper.NewSentMessage(&p)
	if err != nil {
		return nil, err
	}
	return msg.Wrap(&p)
}

type rlpCase struct {
	Name  string         `json:"name"`
	RLP   hexutil.Bytes  `json:"rlp"`
	Taken bool           `json:"taken"`
	Error string         `json:"error,omitempty"`
	Hash  *common.Hash   `json:"hash,omitempty"`
	Nonce hexutil.Uint64 `json:"nonce,omitempty"`
}

func envelopeRLP() ([]rlpCase, error) {
	fields := func(v ...interface{}) []byte {
		b, err := rlp.EncodeToBytes(v)
		if err != nil {
			panic(err)
		}
		return b
	}
	var (
		expiry = uint32(1_600_000_050)
		tp     = []byte{1, 2, 3, 4}
		good   = fields(expiry, uint32(50), tp, fill(20), uint64(7))
	)
	var cases []rlpCase
	for _, c := range []struct {
		name string
		raw  []byte
	}{
		{"good", good},
		{"empty input", []byte{}},
		{"empty list", []byte{0xc0}},
		{"empty string", []byte{0x80}},
		{"not a list", fields(expiry)[1:]},
		{"four fields", fields(expiry, uint32(50), tp, fill(20))},
		{"six fields", fields(expiry, uint32(50), tp, fill(20), uint64(7), uint64(1))},
		{"trailing byte", append(append([]byte{}, good...), 0)},
		{"last byte missing", good[:len(good)-1]},
		{"list length one too large", append([]byte{good[0] + 1}, good[1:]...)},
		{"list length one too small", append([]byte{good[0] - 1}, good[1:]...)},
		{"topic of 3 bytes", fields(expiry, uint32(50), tp[:3], fill(20), uint64(7))},
		{"topic of 5 bytes", fields(expiry, uint32(50), append(tp, 5), fill(20), uint64(7))},
		{"topic is a list", fields(expiry, uint32(50), []interface{}{uint8(1)}, fill(20), uint64(7))},
		{"data is a list", fields(expiry, uint32(50), tp, []interface{}{}, uint64(7))},
		{"data is empty", fields(expiry, uint32(50), tp, []byte{}, uint64(7))},
		{"data is a list of bytes", fields(expiry, uint32(50), tp, []interface{}{uint8(1), uint8(2)}, uint64(7))},
		{"expiry of 5 bytes", fields(uint64(1)<<32, uint32(50), tp, fill(20), uint64(7))},
		{"ttl of 5 bytes", fields(expiry, uint64(1)<<32, tp, fill(20), uint64(7))},
		{"nonce of 9 bytes", fields(expiry, uint32(50), tp, fill(20), []byte{1, 0, 0, 0, 0, 0, 0, 0, 0})},
		{"expiry with leading zero", fields([]byte{0, 0x5f, 0x5e, 0x10}, uint32(50), tp, fill(20), uint64(7))},
		{"ttl as a zero byte", fields(expiry, []byte{0}, tp, fill(20), uint64(7))},
		{"nonce as a zero byte", fields(expiry, uint32(50), tp, fill(20), []byte{0})},
		{"ttl is a list", fields(expiry, []interface{}{}, tp, fill(20), uint64(7))},
		{"data byte in long form", []byte{0xce, 0x84, 0x5f, 0x5e, 0x10, 0x32, 0x32, 0x84, 1, 2, 3, 4, 0x81, 0x05, 0x07}},
		{"non-minimal long list header", append([]byte{0xf8, byte(len(good) - 1)}, good[1:]...)},
		{"length beyond input", []byte{0xfb, 0xff, 0xff, 0xff, 0xff}},
		{"length of 8 bytes", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	} {
		var env whisper.Envelope
		r := rlpCase{Name: c.name, RLP: c.raw}
		if err := rlp.DecodeBytes(c.raw, &env); err != nil {
			r.Error = err.Error()
		} else {
			h := env.Hash()
			r.Taken, r.Hash, r.Nonce = true, &h, hexutil.Uint64(env.Nonce)
		}
		cases = append(cases, r)
	}
	return cases, nil
}

type powCase struct {
	Name string        `json:"name"`
	RLP  hexutil.Bytes `json:"rlp"`
	Now  uint32        `json:"now"`
	// Lag is sent time minus now, in seconds; 0 or less adds nothing.
	Lag int64 `json:"lag"`
	PoW float `json:"pow"`
}

// errTick says that the second changed under a measurement.
var errTick = errors.New("clock ticked")

// sameSecond runs measure until the clock shows the same second before and after.
func sameSecond(measure func(now uint32) error) error {
	for {
		now := uint32(time.Now().Unix())
		err := measure(now)
		if uint32(time.Now().Unix()) == now {
			return err
		}
	}
}

func powWithLag() ([]powCase, error) {
	var cases []powCase
	for _, c := range []struct {
		name string
		ttl  uint32
		lag  int64
		data int
	}{
		{"sent a minute ago", 100, -60, 100}, {"sent now", 50, 0, 100}, {"1 s ahead", 50, 1, 100}, {"5 s ahead", 50, 5, 100},
		{"10 s ahead, the most", 50, 10, 100}, {"10 s ahead, short ttl", 1, 10, 100}, {"3 s ahead, no ttl", 0, 3, 100},
		{"1 s ahead, large data", 50, 1, 700},
	} {
		var pc powCase
		err := sameSecond(func(now uint32) error {
			shh := whisper.StandaloneWhisperService(&whisper.Config{MaxMessageSize: whisper.DefaultMaxMessageSize})
			env := &whisper.Envelope{Expiry: uint32(int64(now)+c.lag) + c.ttl, TTL: c.ttl, Topic: topic("0x01020304"), Data: fill(c.data), Nonce: 99}
			if err := shh.Send(env); err != nil {
				return err
			}
			raw, err := rlp.EncodeToBytes(env)
			pc = powCase{Name: c.name, RLP: raw, Now: now, Lag: c.lag, PoW: newFloat(env.PoW())}
			return err
		})
		if err != nil {
			return nil, err
		}
		cases = append(cases, pc)
	}
	return cases, nil
}
