package pushwire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/bits"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// What docs/protocol.md says of the layers below a request, done here by nothing but
// its words: the vectors that it makes, and reads, are those of the real thing.

// layers are the steps from a request to its packet.
type layers struct {
	message, shared, keys, data, envelope []byte
}

// The parts that are random else.
var (
	layerEphemeral = mustKey("e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4")
	layerIV        = bytes.Repeat([]byte{0x1f}, 16)
)

const (
	layerExpiry = 1_800_000_050
	layerTTL    = 50
)

// vectorLayers are those of the request "status-bound", padded with zeros.
func vectorLayers(t testing.TB) layers {
	payload, err := EncodeRequest(bound(Request{ID: vectorID, Issued: vectorIssued, Body: &Status{}}))
	require.NoError(t, err)
	var l layers

	// flags | payload size | payload | padding | signature
	l.message = append([]byte{4 + 1, byte(len(payload))}, payload...)
	l.message = append(l.message, make([]byte, 1024-65-len(l.message))...)
	signature, err := crypto.Sign(crypto.Keccak256(l.message), vectorRegistrationKey)
	require.NoError(t, err)
	l.message = append(l.message, signature...)

	l.shared, l.keys = agree(&vectorPushKey.PublicKey, layerEphemeral)
	l.data = crypto.FromECDSAPub(&layerEphemeral.PublicKey)
	block, err := aes.NewCipher(l.keys[:16])
	require.NoError(t, err)
	sealed := append(slices.Clone(layerIV), l.message...)
	cipher.NewCTR(block, layerIV).XORKeyStream(sealed[16:], sealed[16:])
	mac := hmac.New(sha256.New, l.keys[16:])
	mac.Write(sealed)
	l.data = slices.Concat(l.data, sealed, mac.Sum(nil))

	topic := Topic()
	for nonce := uint64(0); ; nonce++ {
		if zeros, size := work(t, layerExpiry, layerTTL, topic, l.data, nonce); pow(zeros, size, layerTTL) >= DefaultPoW {
			l.envelope, err = rlp.EncodeToBytes([]any{uint32(layerExpiry), uint32(layerTTL), topic[:], l.data, nonce})
			require.NoError(t, err)
			return l
		}
	}
}

// agree is the agreement on keys: the shared secret, and the keys of cipher and MAC.
func agree(public *ecdsa.PublicKey, private *ecdsa.PrivateKey) (shared, keys []byte) {
	point := crypto.FromECDSAPub(public) // 0x04 and two coordinates
	x, _ := crypto.S256().ScalarMult(new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:]), crypto.FromECDSA(private))
	shared = x.FillBytes(make([]byte, 32))
	k := sha256.Sum256(slices.Concat([]byte{0, 0, 0, 1}, shared))
	mac := sha256.Sum256(k[16:])
	return shared, slices.Concat(k[:16], mac[:])
}

// work is what the proof of work is counted by.
func work(t testing.TB, expiry, ttl uint32, topic whisper.Topic, data []byte, nonce uint64) (zeros, size int) {
	fields, err := rlp.EncodeToBytes([]any{expiry, ttl, topic[:], data})
	require.NoError(t, err)
	hash := crypto.Keccak256(binary.BigEndian.AppendUint64(slices.Clone(fields), nonce))
	for _, b := range hash {
		zeros += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return zeros, len(fields)
}

func pow(zeros, size, ttl int) float64 { return float64(uint64(1)<<zeros) / float64(size*ttl) }

func TestLayers(t *testing.T) {
	if *update {
		t.Skip("the vectors are being written")
	}
	l, vectors := vectorLayers(t), readVectors(t)
	for name, b := range map[string][]byte{
		"layers-message": l.message, "layers-shared": l.shared, "layers-keys": l.keys, "layers-data": l.data, "layers-envelope": l.envelope,
	} {
		require.Equal(t, hex.EncodeToString(vectors[name]), hex.EncodeToString(b), name)
	}

	// The real thing reads it.
	env, err := whisper.DecodeEnvelope(l.envelope)
	require.NoError(t, err)
	require.Equal(t, l.data, env.Data)
	req, signer, err := OpenRequest(env, vectorPushKey)
	require.NoError(t, err)
	require.True(t, signer.Equal(&vectorRegistrationKey.PublicKey))
	require.IsType(t, &Status{}, req.Body)
	require.GreaterOrEqual(t, env.PoW(time.Unix(layerExpiry-layerTTL, 0)), DefaultPoW)

	// And what the real thing makes is read by the words, with every signature's v.
	seen := make(map[byte]bool)
	for len(seen) < 2 {
		env, err := SealRequest(t.Context(), NewRequest(&Status{}, time.Now()), vectorRegistrationKey, &vectorPushKey.PublicKey, DefaultPoW)
		require.NoError(t, err)
		message := unsealByWords(t, env.Data)
		require.Len(t, message, 1024)
		v := message[1023]
		require.LessOrEqual(t, v, byte(1), "0 or 1, not 27 or 28")
		seen[v] = true
		signed, signature := message[:1024-65], message[1024-65:]
		public, err := crypto.SigToPub(crypto.Keccak256(signed), signature)
		require.NoError(t, err)
		require.True(t, public.Equal(&vectorRegistrationKey.PublicKey))
		require.EqualValues(t, 4+1, message[0])
		_, err = DecodeRequest(message[2:][:message[1]])
		require.NoError(t, err)
		zeros, size := work(t, env.Expiry, env.TTL, env.Topic, env.Data, env.Nonce)
		require.InDelta(t, pow(zeros, size, int(env.TTL)), env.PoW(time.Now()), 1e-9)
	}
	for _, name := range []string{"envelope-register", "envelope-register-reply"} {
		env, err := whisper.DecodeEnvelope(vectors[name])
		require.NoError(t, err)
		require.Len(t, env.Data, 1024+113, name)
	}
}

func unsealByWords(t *testing.T, data []byte) []byte {
	public, err := crypto.UnmarshalPubkey(data[:65])
	require.NoError(t, err)
	_, keys := agree(public, vectorPushKey)
	sealed, tag := data[65:len(data)-32], data[len(data)-32:]
	mac := hmac.New(sha256.New, keys[16:])
	mac.Write(sealed)
	require.Equal(t, mac.Sum(nil), tag)
	block, err := aes.NewCipher(keys[:16])
	require.NoError(t, err)
	message := make([]byte, len(sealed)-16)
	cipher.NewCTR(block, sealed[:16]).XORKeyStream(message, sealed[16:])
	return message
}

// What is not as the document says is refused.
func TestLayersRefused(t *testing.T) {
	l := vectorLayers(t)
	list, err := rlp.EncodeToBytes([]rlp.RawValue{l.envelope})
	require.NoError(t, err)
	_, err = whisper.DecodeEnvelope(list)
	require.ErrorIs(t, err, whisper.ErrMalformed, "packet 126 holds an envelope, not a list of one")

	message := slices.Clone(l.message)
	message[1023] += 27
	sealed := append(slices.Clone(layerIV), message...)
	block, err := aes.NewCipher(l.keys[:16])
	require.NoError(t, err)
	cipher.NewCTR(block, layerIV).XORKeyStream(sealed[16:], sealed[16:])
	mac := hmac.New(sha256.New, l.keys[16:])
	mac.Write(sealed)
	env := &whisper.Envelope{Data: slices.Concat(l.data[:65], sealed, mac.Sum(nil))}
	_, _, err = OpenRequest(env, vectorPushKey)
	require.ErrorIs(t, err, whisper.ErrCannotOpen, "v is 0 or 1")
}

// The numbers of the proof of work in the document are those of the vector.
func TestLayersInTheDocument(t *testing.T) {
	if *update {
		t.Skip("the vectors are being written")
	}
	doc, err := os.ReadFile("../../docs/protocol.md")
	require.NoError(t, err)
	env, err := whisper.DecodeEnvelope(readVectors(t)["layers-envelope"])
	require.NoError(t, err)
	zeros, size := work(t, env.Expiry, env.TTL, env.Topic, env.Data, env.Nonce)
	for _, sentence := range []string{
		fmt.Sprintf("2^%d / (%d × %d) = %.3f", zeros, size, env.TTL, pow(zeros, size, int(env.TTL))),
		fmt.Sprintf("nonce %d", env.Nonce),
	} {
		require.True(t, strings.Contains(string(doc), sentence), sentence)
	}
	require.NotEqual(t, size, len(env.Raw()))
}
