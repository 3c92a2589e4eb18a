package vectors

import (
	"crypto/ecdsa"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// messageVector is a message, and the envelope that one side put it into.
type messageVector struct {
	Name string `json:"name"`

	// One of them opens it.
	Key     hexutil.Bytes `json:"key,omitempty"`
	Private hexutil.Bytes `json:"private,omitempty"`

	Payload hexutil.Bytes `json:"payload"`
	Padding hexutil.Bytes `json:"padding"`
	Signer  hexutil.Bytes `json:"signer,omitempty"` // compressed
	Topic   whisper.Topic `json:"topic"`
	TTL     uint32        `json:"ttl"`
	Sent    uint32        `json:"sent"`
	Target  float64       `json:"target"` // of the proof of work
	Nonce   string        `json:"nonce"`  // the smallest that reaches it
	PoW     float64       `json:"pow"`

	Raw     hexutil.Bytes `json:"raw"`
	Hash    hexutil.Bytes `json:"hash"`
	Message hexutil.Bytes `json:"message"`
}

type whisperVectors struct {
	Messages []messageVector `json:"messages"`
}

const sent = 1_800_000_000

func key(t *testing.T, private []byte) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(private)
	require.NoError(t, err)
	return key
}

// drafts are the messages that the Go code puts into envelopes.
func drafts(t *testing.T) map[string]whisper.Draft {
	symmetric, receiver, signer := repeated(0x11, 32), key(t, repeated(0x22, 32)), key(t, repeated(0x33, 32))
	return map[string]whisper.Draft{
		"symmetric, empty":           {Key: symmetric},
		"symmetric, signed":          {Key: symmetric, Payload: []byte("Dinner is at seven. 🍝"), Sign: signer, Topic: whisper.TopicFor("family")},
		"symmetric, no padding":      {Key: symmetric, Payload: repeated(1, 300), Padding: []byte{}},
		"symmetric, own padding":     {Key: symmetric, Payload: []byte{0x80}, Padding: []byte("padding"), Sign: signer},
		"symmetric, 255 bytes":       {Key: symmetric, Payload: repeated(2, 255)},
		"symmetric, 256 bytes":       {Key: symmetric, Payload: repeated(3, 256), Sign: signer},
		"symmetric, 65536 bytes":     {Key: symmetric, Payload: repeated(4, 65536), Padding: []byte{}},
		"symmetric, worked for":      {Key: symmetric, Payload: []byte("worked for"), PoW: 0.2},
		"symmetric, much worked for": {Key: symmetric, Payload: []byte("hard"), PoW: 3, TTL: 10},
		"asymmetric, empty":          {To: &receiver.PublicKey},
		"asymmetric, signed":         {To: &receiver.PublicKey, Payload: []byte("for you alone"), Sign: signer, Topic: whisper.Topic{1, 2, 3, 4}, PoW: 0.1},
		"asymmetric, one second":     {To: &receiver.PublicKey, Payload: []byte{0}, TTL: 1, PoW: 5},
		"asymmetric, a day":          {To: &receiver.PublicKey, Payload: []byte("later"), TTL: 86400, Topic: whisper.Topic{0xff, 0xff, 0xff, 0xff}},
	}
}

func TestWriteWhisperVectors(t *testing.T) {
	if !*update {
		t.Skip("testdata/go is written with -update only")
	}
	var all whisperVectors
	for _, name := range sortedNames(drafts(t)) {
		d := drafts(t)[name]
		d.Now = time.Unix(sent, 0)
		env, err := whisper.Seal(t.Context(), d)
		require.NoError(t, err)
		v := messageVector{
			Name: name, Key: d.Key, Payload: d.Payload, Topic: d.Topic, TTL: env.TTL, Sent: sent, Target: d.PoW,
			Nonce: strconv.FormatUint(env.Nonce, 10), PoW: env.PoW(d.Now), Raw: env.Raw(), Hash: env.Hash().Bytes(), Message: env.Message().Bytes(),
		}
		if d.To != nil {
			v.Private = repeated(0x22, 32)
		}
		if d.Sign != nil {
			v.Signer = crypto.CompressPubkey(&d.Sign.PublicKey)
		}
		v.Padding = v.open(t).Padding
		all.Messages = append(all.Messages, v)
	}
	write(t, "whisper.json", all)
}

// open opens the envelope with the key that the vector gives.
func (v messageVector) open(t *testing.T) *whisper.Message {
	env, err := whisper.DecodeEnvelope(v.Raw)
	require.NoError(t, err)
	var m *whisper.Message
	if len(v.Key) > 0 {
		m, err = env.OpenSymmetric(v.Key)
	} else {
		m, err = env.OpenAsymmetric(key(t, v.Private))
	}
	require.NoError(t, err)
	return m
}

func TestWhisperVectors(t *testing.T) {
	ofBoth(t, func(t *testing.T, writer string) {
		all := read[whisperVectors](t, writer, "whisper.json")
		require.Greater(t, len(all.Messages), 10)
		for _, v := range all.Messages {
			t.Run(v.Name, func(t *testing.T) {
				env, err := whisper.DecodeEnvelope(v.Raw)
				require.NoError(t, err)
				require.Equal(t, v.Topic, env.Topic)
				require.Equal(t, v.TTL, env.TTL)
				require.Equal(t, v.Sent, env.Sent())
				require.Equal(t, v.Nonce, strconv.FormatUint(env.Nonce, 10))
				require.Equal(t, []byte(v.Hash), env.Hash().Bytes())
				require.Equal(t, []byte(v.Message), env.Message().Bytes())
				require.Equal(t, v.PoW, env.PoW(time.Unix(int64(v.Sent), 0)))
				requireSmallest(t, env, v)

				m := v.open(t)
				require.Equal(t, v.Payload.String(), hexutil.Encode(m.Payload))
				require.Equal(t, v.Padding.String(), hexutil.Encode(m.Padding))
				if len(v.Signer) == 0 {
					require.Nil(t, m.Signer)
				} else {
					require.Equal(t, []byte(v.Signer), crypto.CompressPubkey(m.Signer))
				}
			})
		}
	})
}

// requireSmallest checks that the nonce reaches the target, and none of those before.
func requireSmallest(t *testing.T, env *whisper.Envelope, v messageVector) {
	if v.Target == 0 {
		require.Zero(t, env.Nonce)
		return
	}
	require.GreaterOrEqual(t, v.PoW, v.Target)
	for nonce := max(env.Nonce, 1000) - 1000; nonce < env.Nonce; nonce++ {
		raw, err := rlp.EncodeToBytes([]any{env.Expiry, env.TTL, env.Topic, env.Data, nonce})
		require.NoError(t, err)
		earlier, err := whisper.DecodeEnvelope(raw)
		require.NoError(t, err)
		require.Less(t, earlier.PoW(time.Unix(int64(v.Sent), 0)), v.Target)
	}
	require.False(t, math.IsInf(v.PoW, 0))
}
