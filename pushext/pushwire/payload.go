package pushwire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// Kind says what a wake-up is for.
type Kind uint8

// Kinds of a Payload.
const (
	Messages  Kind = 1 // envelopes wait to be fetched
	Challenge Kind = 2 // Code proves the address: answer with NewConfirm
	Dismiss   Kind = 3 // Hashes were seen on another device: remove their notifications
	Canary    Kind = 4 // a test push; nothing to do
)

var kinds = [...]string{Messages: "messages", Challenge: "challenge", Dismiss: "dismiss", Canary: "canary"}

// String is the kind's name, such as "messages", or "unknown".
func (k Kind) String() string {
	if int(k) < len(kinds) && kinds[k] != "" {
		return kinds[k]
	}
	return "unknown"
}

// Payload is what a device receives through its push service. It is the same
// for every provider.
type Payload struct {
	Kind Kind
	// Seq counts the wake-ups of kind Messages of a registration, from 1; it is
	// 0 for other kinds. A wake-up that is tried again keeps its number. A
	// device that finds a number missing has missed a wake-up. The next one
	// that arrives repeats its hashes, and More tells whether some did not fit.
	Seq uint64
	// More says that more envelopes wait than Hashes holds: ask for everything
	// since the cursor.
	More bool
	// Hashes are all envelopes not yet fetched, the newest first: at most
	// MaxHashes.
	Hashes []common.Hash
	// Code is the challenge's code, CodeSize bytes; it is empty for other kinds.
	Code []byte
	// Server and Account say whose challenge it is and for whom: push key and
	// registration key, PushKeySize bytes each. A device answers no other
	// challenge. They are empty for other kinds, and from servers from before 2027.
	Server, Account []byte
}

// Binding holds the push key and the registration key, both compressed, that
// a challenge must name for a device to answer it.
type Binding struct{ Server, Account [PushKeySize]byte }

// Names reports whether a challenge is from that server and for that account.
// It is false for a challenge that names nobody.
func (p *Payload) Names(b Binding) bool {
	return bytes.Equal(p.Server, b.Server[:]) && bytes.Equal(p.Account, b.Account[:])
}

const (
	// MaxHashes is how many hashes a Payload carries.
	MaxHashes = 28
	// SealedSize is the length of every sealed payload in bytes: see Sealer.
	SealedSize = 1024
	// PlainSize is the length of a payload before it is sealed, zeros at its
	// end included.
	PlainSize = SealedSize - sealNonce - encapsulatedSize - sealTag
	// BodySize is the length of every body that SealPayload returns.
	BodySize = len(`{"v":2,"p":""}`) + (SealedSize+2)/3*4
	// maxBody is the largest body that a push service carries.
	maxBody = 4096
)

// encode writes [version, kind, seq, more, hashes, code, server, account] into
// plain, which has PlainSize bytes, all zero.
func (p *Payload) encode(plain []byte) error {
	if err := p.check(); err != nil {
		return err
	}
	b, err := encode(func(w writer) {
		w.WriteUint64(Version)
		w.WriteUint64(uint64(p.Kind))
		w.WriteUint64(p.Seq)
		w.WriteBool(p.More)
		writeHashes(w, p.Hashes)
		w.WriteBytes(p.Code)
		w.tail(len(p.Server) > 0, func() {
			w.WriteBytes(p.Server)
			w.WriteBytes(p.Account)
		})
	})
	copy(plain, b)
	return err
}

func (p *Payload) check() error {
	switch {
	case len(p.Hashes) > MaxHashes:
		return fmt.Errorf("%w: %d hashes, at most %d", ErrTooLarge, len(p.Hashes), MaxHashes)
	case p.Kind == Challenge && len(p.Code) != CodeSize:
		return fmt.Errorf("%w: challenge with a code of %d bytes, not %d", ErrMalformed, len(p.Code), CodeSize)
	case p.Kind != Challenge && len(p.Code) != 0:
		return fmt.Errorf("%w: code in a payload that is not a challenge", ErrMalformed)
	case p.Kind != Challenge && len(p.Server)+len(p.Account) != 0:
		return fmt.Errorf("%w: server or account in a payload that is not a challenge", ErrMalformed)
	case len(p.Server) != len(p.Account) || len(p.Server) != 0 && len(p.Server) != PushKeySize:
		return fmt.Errorf("%w: challenge of a server key of %d bytes and an account of %d, not %d each", ErrMalformed, len(p.Server), len(p.Account), PushKeySize)
	}
	return nil
}

func decodePayload(b []byte) (Payload, error) {
	var p Payload
	_, _, padding, err := rlp.Split(b)
	if err != nil || len(bytes.TrimLeft(padding, "\x00")) != 0 {
		return p, fmt.Errorf("%w: payload is not one list and zeros", ErrMalformed)
	}
	r := newReader(b[:len(b)-len(padding)])
	if version := r.uint("version"); r.err == nil && version != Version {
		r.fail(ErrVersion, "%d, not %d", version, Version)
	}
	p.Kind = Kind(r.small("kind", 0xff))
	p.Seq = r.uint("sequence")
	p.More = r.bool("more")
	p.Hashes = readHashes(r, MaxHashes)
	p.Code = r.maybe("code", CodeSize)
	p.Server = r.maybe("server", PushKeySize)
	p.Account = r.maybe("account", PushKeySize)
	if r.err == nil {
		r.err = p.check()
	}
	if r.err != nil {
		return Payload{}, r.err
	}
	return p, nil
}

// body is a wake-up as JSON. Services that carry only strings may turn every
// value into a string, so each can also be read from one.
type body struct {
	Version number `json:"v"`
	Sealed  string `json:"p,omitempty"`

	Kind   number `json:"k,omitempty"`
	Seq    number `json:"s,omitempty"`
	More   number `json:"m,omitempty"` // 0 or 1
	Hashes hashes `json:"h,omitempty"` // "0x…"
	Code   string `json:"c,omitempty"` // hexadecimal, like the two below

	Server  string `json:"b,omitempty"`
	Account string `json:"a,omitempty"`
}

// PlainPayload returns the body for a registration that asked for the plain form,
// {"v":2,"k":1,"s":7,"m":1,"h":["0x…"],"c":"…"}: kind, sequence, more, hashes,
// code, and for a challenge "b", the server, and "a", the account. Zero values
// are left out.
func PlainPayload(p Payload) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	b := body{Version: Version, Kind: number(p.Kind), Seq: number(p.Seq), Hashes: p.Hashes, Code: hex.EncodeToString(p.Code),
		Server: hex.EncodeToString(p.Server), Account: hex.EncodeToString(p.Account)}
	if p.More {
		b.More = 1
	}
	return json.Marshal(b)
}

// OpenPayload reads the body of a wake-up. With the device's private seal key
// it accepts only the sealed form, which cannot be made without the public
// seal key. Without a key (nil) it accepts only the plain form. It never
// panics, and an error wraps ErrCannotOpen, ErrMalformed, ErrVersion or
// ErrTooLarge.
func OpenPayload(raw []byte, sealPrivate []byte) (Payload, error) {
	if len(raw) > maxBody {
		return Payload{}, fmt.Errorf("%w: body of %d bytes, at most %d", ErrTooLarge, len(raw), maxBody)
	}
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return Payload{}, fmt.Errorf("%w: body is no JSON object of this protocol", ErrMalformed)
	}
	if b.Version != Version {
		return Payload{}, fmt.Errorf("%w: %d, not %d", ErrVersion, b.Version, Version)
	}
	if sealPrivate == nil {
		return b.plain()
	}
	sealed, err := base64.StdEncoding.DecodeString(b.Sealed)
	if err != nil || len(sealed) != SealedSize {
		return Payload{}, fmt.Errorf("%w: sealed part is not %d bytes in base64", ErrMalformed, SealedSize)
	}
	plain, err := unseal(sealed, sealPrivate)
	if err != nil {
		return Payload{}, err
	}
	return decodePayload(plain)
}

func (b *body) plain() (Payload, error) {
	if b.Sealed != "" {
		return Payload{}, fmt.Errorf("%w: it is sealed, and there is no key", ErrCannotOpen)
	}
	if b.Kind > 0xff || b.More > 1 {
		return Payload{}, fmt.Errorf("%w: kind or more out of range", ErrMalformed)
	}
	p := Payload{Kind: Kind(b.Kind), Seq: uint64(b.Seq), More: b.More == 1, Hashes: b.Hashes}
	for _, field := range []struct {
		name, text string
		to         *[]byte
	}{{"code", b.Code, &p.Code}, {"server", b.Server, &p.Server}, {"account", b.Account, &p.Account}} {
		value, err := hex.DecodeString(field.text)
		if err != nil {
			return Payload{}, fmt.Errorf("%w: %s is not hexadecimal", ErrMalformed, field.name)
		}
		if len(value) > 0 {
			*field.to = value
		}
	}
	if err := p.check(); err != nil {
		return Payload{}, err
	}
	return p, nil
}

// number is a JSON number, or a string that holds one.
type number uint64

func (n *number) UnmarshalJSON(b []byte) error {
	b = bytes.Trim(b, `"`)
	v, err := strconv.ParseUint(string(b), 10, 64)
	*n = number(v)
	return err
}

// hashes is a JSON list of hashes, or a string that holds one.
type hashes []common.Hash

func (h *hashes) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		b = []byte(s)
	}
	var list []common.Hash
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) > 0 {
		*h = list
	}
	return nil
}
