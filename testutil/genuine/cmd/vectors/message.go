package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/ecies"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

type passwordCase struct {
	Password string        `json:"password"`
	Key      hexutil.Bytes `json:"key"`
}

func passwords() ([]passwordCase, error) {
	var cases []passwordCase
	for _, p := range []string{"", "a", "wwww", "status-offline-inbox", "correct horse battery staple", "пароль", "with\x00zero", " spaces "} {
		shh := whisper.StandaloneWhisperService(nil)
		id, err := shh.AddSymKeyFromPassword(p)
		if err != nil {
			return nil, err
		}
		key, err := shh.GetSymKey(id)
		if err != nil {
			return nil, err
		}
		cases = append(cases, passwordCase{p, key})
	}
	return cases, nil
}

// messageCase is a message as sealed and as opened again by the genuine node.
// Key is the symmetric key or the recipient's private key.
type messageCase struct {
	Name      string        `json:"name"`
	Key       hexutil.Bytes `json:"key"`
	Recipient hexutil.Bytes `json:"recipient,omitempty"`
	SignKey   hexutil.Bytes `json:"signKey,omitempty"`
	// PaddingGiven tells whether the sender chose the padding.
	PaddingGiven bool          `json:"paddingGiven"`
	Data         hexutil.Bytes `json:"data"`
	Plaintext    hexutil.Bytes `json:"plaintext,omitempty"`
	Payload      hexutil.Bytes `json:"payload"`
	Padding      hexutil.Bytes `json:"padding"`
	Signature    hexutil.Bytes `json:"signature,omitempty"`
	Signer       hexutil.Bytes `json:"signer,omitempty"`
}

type messageInput struct {
	name    string
	payload []byte
	padding []byte
	signed  bool
}

// small are the inputs sealed both ways: sizes around the payload size field's
// border at 256 and around the padding's border at a multiple of 256.
func small() []messageInput {
	return []messageInput{
		{name: "empty payload"}, {name: "empty payload, signed", signed: true},
		{name: "1 byte", payload: fill(1)}, {name: "text, signed", payload: []byte("hello, Whisper"), signed: true},
		{name: "188 bytes, signed: padded to one block", payload: fill(188), signed: true},
		{name: "189 bytes, signed: already full, another block", payload: fill(189), signed: true},
		{name: "190 bytes, signed: one byte over", payload: fill(190), signed: true},
		{name: "253 bytes: padded by one byte", payload: fill(253)},
		{name: "254 bytes: already full, another block", payload: fill(254)},
		{name: "255 bytes, last 1-byte size", payload: fill(255)}, {name: "255 bytes, signed", payload: fill(255), signed: true},
		{name: "256 bytes, first 2-byte size", payload: fill(256)}, {name: "256 bytes, signed", payload: fill(256), signed: true},
		{name: "257 bytes", payload: fill(257)},
		{name: "padding of 1 byte given", payload: fill(10), padding: []byte{0xaa}},
		{name: "padding of 7 bytes given, signed", payload: fill(10), padding: fill(7), signed: true},
		{name: "padding of 300 bytes given", payload: fill(10), padding: fill(300)},
		{name: "padding of zeros given, signed", payload: fill(10), padding: make([]byte, 32), signed: true},
		{name: "empty payload, padding given", padding: fill(3)},
	}
}

func symmetricMessages() ([]messageCase, error) {
	var cases []messageCase
	for _, in := range small() {
		c, err := sealAndOpen(in, symKeyFor("message"), nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.name, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func largeMessages() ([]messageCase, error) {
	var cases []messageCase
	for _, in := range []messageInput{
		{name: "65535 bytes, last 2-byte size, signed", payload: fill(65535), signed: true},
		{name: "65536 bytes, first 3-byte size", payload: fill(65536)},
	} {
		c, err := sealAndOpen(in, symKeyFor("message"), nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.name, err)
		}
		c.Plaintext = nil // three copies of 64 KiB are enough
		cases = append(cases, c)
	}
	return cases, nil
}

func asymmetricMessages() ([]messageCase, error) {
	var cases []messageCase
	for _, in := range small() {
		c, err := sealAndOpen(in, nil, keyFor("recipient"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.name, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func sealAndOpen(in messageInput, symKey []byte, recipient *ecdsa.PrivateKey) (messageCase, error) {
	p := whisper.MessageParams{TTL: 50, Topic: topic("0xcafe0002"), Payload: in.payload, Padding: in.padding}
	c := messageCase{Name: in.name, PaddingGiven: len(in.padding) > 0}
	f := &whisper.Filter{}
	if recipient != nil {
		p.Dst, f.KeyAsym = &recipient.PublicKey, recipient
		c.Key, c.Recipient = crypto.FromECDSA(recipient), crypto.FromECDSAPub(&recipient.PublicKey)
	} else {
		p.KeySym, f.KeySym, c.Key = symKey, symKey, symKey
	}
	if in.signed {
		p.Src = keyFor("signer")
		c.SignKey = crypto.FromECDSA(p.Src)
	}
	env, err := seal(p)
	if err != nil {
		return c, err
	}
	msg := env.Open(f)
	if msg == nil {
		return c, fmt.Errorf("own message did not open")
	}
	if !bytes.Equal(msg.Payload, in.payload) {
		return c, fmt.Errorf("payload came back changed")
	}
	c.Data, c.Plaintext, c.Payload, c.Padding, c.Signature = env.Data, msg.Raw, orEmpty(msg.Payload), orEmpty(msg.Padding), msg.Signature
	if msg.Src != nil {
		c.Signer = crypto.FromECDSAPub(msg.Src)
	}
	return c, nil
}

// orEmpty distinguishes an empty field from one left out.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Verdicts on a malformed message.
const (
	opened  = "opened"
	refused = "refused"
	panics  = "panics" // the genuine node crashes; ours must refuse
)

type malformedCase struct {
	Name string `json:"name"`
	// Kind is symmetric or asymmetric.
	Kind    string        `json:"kind"`
	Key     hexutil.Bytes `json:"key"`
	Data    hexutil.Bytes `json:"data"`
	Verdict string        `json:"verdict"`
	// Plaintext is what Data encrypts, if it decrypts at all.
	Plaintext *hexutil.Bytes `json:"plaintext,omitempty"`
	Payload   *hexutil.Bytes `json:"payload,omitempty"`
	Padding   *hexutil.Bytes `json:"padding,omitempty"`
	Signer    hexutil.Bytes  `json:"signer,omitempty"`
}

func malformedMessages() ([]malformedCase, error) {
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	sign := func(b []byte) []byte {
		sig, err := crypto.Sign(crypto.Keccak256(b), keyFor("signer"))
		if err != nil {
			panic(err)
		}
		return append(append([]byte{}, b...), sig...)
	}
	good := sign(cat([]byte{0x05, 3}, []byte("abc"), fill(20)))
	broken := func(at int, b byte) []byte {
		x := append([]byte{}, good...)
		x[at] = b
		return x
	}
	plaintexts := []struct {
		name string
		raw  []byte
	}{
		{"nothing", nil},
		{"flags alone", []byte{0}},
		{"no size field: all is padding", cat([]byte{0}, fill(9))},
		{"no size field, signed: all is padding", sign(cat([]byte{4}, fill(9)))},
		{"no size field, signed, nothing else", sign([]byte{4})},
		{"1-byte size, cut off", []byte{1}},
		{"2-byte size, cut off", []byte{2, 1}},
		{"3-byte size, cut off", []byte{3, 1, 0}},
		{"size 0, no padding", []byte{1, 0}},
		{"2-byte size of 1, not minimal", []byte{2, 1, 0, 'x', 'p'}},
		{"3-byte size of 1, not minimal", []byte{3, 1, 0, 0, 'x', 'p'}},
		{"size is exactly what is left", []byte{1, 3, 'a', 'b', 'c'}},
		{"size is one more than is left", []byte{1, 4, 'a', 'b', 'c'}},
		{"size is two more than is left", []byte{1, 5, 'a', 'b', 'c'}},
		{"2-byte size, one more than is left", []byte{2, 4, 0, 'a', 'b', 'c'}},
		{"2-byte size, two more than is left", []byte{2, 5, 0, 'a', 'b', 'c'}},
		{"3-byte size, two more than is left", []byte{3, 5, 0, 0, 'a', 'b', 'c'}},
		{"3-byte size, three more than is left", []byte{3, 6, 0, 0, 'a', 'b', 'c'}},
		{"3-byte size, the highest", []byte{3, 0xff, 0xff, 0xff, 'a', 'b', 'c'}},
		{"unknown flag bits", []byte{0xf9, 1, 'x', 'p'}},
		{"signed, good", good},
		{"signed flag, 64 bytes in all", cat([]byte{4}, fill(63))},
		{"signed flag, 65 bytes in all", cat([]byte{4}, fill(64))},
		{"signed flag, 66 bytes in all", cat([]byte{4}, fill(65))},
		{"signed flag, 67 bytes in all, no signature", cat([]byte{5, 0}, fill(65))},
		{"signed, size reaches into the signature by one", sign([]byte{5, 4, 'a', 'b', 'c'})},
		{"signed, size reaches over the signature's end", sign([]byte{5, 100, 'a', 'b', 'c'})},
		{"signed, size field cut off by the signature", sign([]byte{7, 1})},
		{"signed, payload changed: recovers another signer", broken(2, 'z')},
		{"signed, recovery id 4", broken(len(good)-1, 4)},
		{"signed, recovery id 27", broken(len(good)-1, 27)},
		{"signed, signature all zero", cat(good[:len(good)-65], make([]byte, 65))},
		{"signed, signature all 0xff", cat(good[:len(good)-65], bytes.Repeat([]byte{0xff}, 65))},
	}
	var (
		cases     []malformedCase
		symKey    = symKeyFor("malformed")
		recipient = keyFor("recipient")
		pub       = ecies.ImportECDSAPublic(&recipient.PublicKey)
	)
	for _, p := range plaintexts {
		plain := hexutil.Bytes(orEmpty(p.raw))
		cases = append(cases, openMalformed(malformedCase{Name: p.name, Kind: "symmetric", Key: symKey, Data: gcm(symKey, p.raw), Plaintext: &plain}))
		data, err := ecies.Encrypt(rand.Reader, pub, p.raw, nil, nil)
		if err != nil {
			return nil, err
		}
		cases = append(cases, openMalformed(malformedCase{Name: p.name, Kind: "asymmetric", Key: crypto.FromECDSA(recipient), Data: data, Plaintext: &plain}))
	}

	sealed := gcm(symKey, []byte{1, 1, 'x'})
	for n := 0; n <= 30; n++ {
		cases = append(cases, openMalformed(malformedCase{Name: fmt.Sprintf("first %d bytes of a ciphertext", n), Kind: "symmetric", Key: symKey, Data: sealed[:n]}))
	}
	enc, err := ecies.Encrypt(rand.Reader, pub, []byte{1, 1, 'x'}, nil, nil)
	if err != nil {
		return nil, err
	}
	asym := func(name string, data []byte) {
		cases = append(cases, openMalformed(malformedCase{Name: name, Kind: "asymmetric", Key: crypto.FromECDSA(recipient), Data: data}))
	}
	for n := 0; n < len(enc); n++ {
		asym(fmt.Sprintf("first %d bytes of a ciphertext", n), enc[:n])
	}
	change := func(at int, b byte) []byte {
		x := append([]byte{}, enc...)
		x[at] = b
		return x
	}
	asym("one byte more than the ciphertext", append(append([]byte{}, enc...), 0))
	asym("point form 0", change(0, 0))
	asym("point form 2, compressed", change(0, 2))
	asym("point form 3, compressed", change(0, 3))
	asym("point form 5", change(0, 5))
	asym("point off the curve", change(40, enc[40]^1))
	asym("point zero", cat([]byte{4}, make([]byte, 64), enc[65:]))
	asym("point all 0xff", cat([]byte{4}, bytes.Repeat([]byte{0xff}, 64), enc[65:]))
	asym("tag changed", change(len(enc)-1, enc[len(enc)-1]^1))
	asym("ciphertext changed", change(len(enc)-33, enc[len(enc)-33]^1))
	return cases, nil
}

// gcm encrypts as a Whisper sender does, whatever the plaintext is.
func gcm(key, plaintext []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	salt := make([]byte, aead.NonceSize())
	if _, err := rand.Read(salt); err != nil {
		panic(err)
	}
	return append(aead.Seal(nil, salt, plaintext, nil), salt...)
}

func openMalformed(c malformedCase) (out malformedCase) {
	c.Data = orEmpty(c.Data)
	defer func() {
		if recover() != nil {
			c.Verdict = panics
			out = c
		}
	}()
	f := &whisper.Filter{}
	if c.Kind == "symmetric" {
		f.KeySym = c.Key
	} else {
		key, err := crypto.ToECDSA(c.Key)
		if err != nil {
			panic(err)
		}
		f.KeyAsym = key
	}
	msg := (&whisper.Envelope{Data: c.Data}).Open(f)
	if msg == nil {
		c.Verdict = refused
		return c
	}
	c.Verdict = opened
	payload, padding := hexutil.Bytes(orEmpty(msg.Payload)), hexutil.Bytes(orEmpty(msg.Padding))
	c.Payload, c.Padding = &payload, &padding
	if msg.Src != nil {
		c.Signer = crypto.FromECDSAPub(msg.Src)
	}
	return c
}
