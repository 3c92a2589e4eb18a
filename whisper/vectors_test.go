package whisper

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
)

// vectors reads the cases of a file that the genuine node wrote
// (testdata/genuine/README.md).
func vectors[Case any](t *testing.T, file string) []Case {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "genuine", file))
	require.NoError(t, err)
	var content struct{ Cases []Case }
	require.NoError(t, json.Unmarshal(text, &content))
	require.NotEmpty(t, content.Cases)
	return content.Cases
}

type powVector struct{ Bits hexutil.Uint64 }

// requirePoW compares in full, but for the lifetime of 0, to which the genuine
// node gives infinite work and we give that of one second.
func requirePoW(t *testing.T, want powVector, got float64) {
	t.Helper()
	if pow := math.Float64frombits(uint64(want.Bits)); !math.IsInf(pow, 0) {
		require.Equal(t, pow, got)
	} else {
		require.False(t, math.IsInf(got, 0))
	}
}

func TestGenuineEnvelopes(t *testing.T) {
	for _, c := range vectors[struct {
		Name        string
		Expiry, TTL uint32
		Topic       Topic
		Data, RLP   hexutil.Bytes
		Nonce       hexutil.Uint64
		Hash        common.Hash
		Sent        uint32
		Size        int
		PoW         powVector
		Bloom       hexutil.Bytes
	}](t, "envelopes.json") {
		t.Run(c.Name, func(t *testing.T) {
			e, err := DecodeEnvelope(c.RLP)
			require.NoError(t, err)
			require.Equal(t, c.Expiry, e.Expiry)
			require.Equal(t, c.TTL, e.TTL)
			require.Equal(t, c.Topic, e.Topic)
			require.Equal(t, uint64(c.Nonce), e.Nonce)
			require.Equal(t, []byte(c.Data), append([]byte{}, e.Data...))
			require.Equal(t, c.Hash, e.Hash())
			require.Equal(t, c.Size, e.Size())
			if c.TTL <= c.Expiry { // otherwise the genuine node wraps and we stop at 0
				require.Equal(t, c.Sent, e.Sent())
			}
			requirePoW(t, c.PoW, e.PoW(time.Unix(int64(e.Sent()), 0)))
			if len(c.Bloom) > 0 {
				bloom := e.Topic.Bloom()
				require.Equal(t, []byte(c.Bloom), bloom[:])
			}

			made := &Envelope{Expiry: c.Expiry, TTL: c.TTL, Topic: c.Topic, Data: c.Data, Nonce: uint64(c.Nonce)}
			made.encode(made.appendWork(nil))
			require.Equal(t, []byte(c.RLP), made.Raw())
			require.Equal(t, c.Hash, made.Hash())
		})
	}
}

func TestGenuineEnvelopeRLP(t *testing.T) {
	for _, c := range vectors[struct {
		Name  string
		RLP   hexutil.Bytes
		Taken bool
		Hash  common.Hash
	}](t, "envelope-rlp.json") {
		t.Run(c.Name, func(t *testing.T) {
			e, err := DecodeEnvelope(c.RLP)
			if !c.Taken {
				require.ErrorIs(t, err, ErrMalformed)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.Hash, e.Hash())
		})
	}
}

func TestGenuinePoW(t *testing.T) {
	for _, c := range vectors[struct {
		Name string
		RLP  hexutil.Bytes
		Now  int64
		PoW  powVector
	}](t, "pow.json") {
		t.Run(c.Name, func(t *testing.T) {
			e, err := DecodeEnvelope(c.RLP)
			require.NoError(t, err)
			requirePoW(t, c.PoW, e.PoW(time.Unix(c.Now, 0)))
		})
	}
}

func TestGenuineBlooms(t *testing.T) {
	lost := 0
	for _, c := range vectors[struct {
		Name  string
		Topic Topic
		Bloom hexutil.Bytes
		Lost  []int
	}](t, "blooms.json") {
		bloom := c.Topic.Bloom()
		require.Equal(t, []byte(c.Bloom), bloom[:], c.Name)
		lost += len(c.Lost)
	}
	require.NotZero(t, lost, "the vectors cover lost bits")
	for _, c := range vectors[struct {
		Name           string
		Filter, Sample hexutil.Bytes
		Match          bool
	}](t, "bloom-match.json") {
		if len(c.Filter) != BloomSize || len(c.Sample) != BloomSize {
			continue // a filter of another size cannot be a Bloom
		}
		require.Equal(t, c.Match, Bloom(c.Filter).Covers(Bloom(c.Sample)), c.Name)
	}
}

func TestGenuinePasswords(t *testing.T) {
	for _, c := range vectors[struct {
		Password string
		Key      hexutil.Bytes
	}](t, "passwords.json") {
		require.Equal(t, []byte(c.Key), KeyFromPassword(c.Password))
	}
}

type messageVector struct {
	Name, Kind                   string
	Key, Data, Payload, Padding  hexutil.Bytes
	Plaintext, Signature, Signer hexutil.Bytes
	SignKey                      hexutil.Bytes
	PaddingGiven                 bool
	Verdict                      string
}

func (v messageVector) open(t *testing.T, asymmetric bool) (*Message, error) {
	e := &Envelope{Data: v.Data}
	if !asymmetric {
		return e.OpenSymmetric(v.Key)
	}
	key, err := crypto.ToECDSA(v.Key)
	require.NoError(t, err)
	return e.OpenAsymmetric(key)
}

func (v messageVector) requireOpened(t *testing.T, m *Message) {
	t.Helper()
	require.Equal(t, v.Payload.String(), hexutil.Encode(m.Payload))
	require.Equal(t, v.Padding.String(), hexutil.Encode(m.Padding))
	if len(v.Signer) == 0 {
		require.Nil(t, m.Signer)
	} else {
		require.Equal(t, v.Signer.String(), hexutil.Encode(crypto.FromECDSAPub(m.Signer)))
	}
}

func TestGenuineMessages(t *testing.T) {
	for file, asymmetric := range map[string]bool{
		"messages-symmetric.json": false, "messages-symmetric-large.json": false, "messages-asymmetric.json": true,
	} {
		for _, v := range vectors[messageVector](t, file) {
			t.Run(file+"/"+v.Name, func(t *testing.T) {
				m, err := v.open(t, asymmetric)
				require.NoError(t, err)
				v.requireOpened(t, m)

				// The same draft gives the same plaintext, signature included,
				// and is padded to the same length where the padding is random.
				if len(v.Plaintext) == 0 {
					return
				}
				d := Draft{Payload: v.Payload, Padding: v.Padding}
				if len(v.SignKey) > 0 {
					d.Sign, err = crypto.ToECDSA(v.SignKey)
					require.NoError(t, err)
				}
				plain, err := d.plaintext()
				require.NoError(t, err)
				require.Equal(t, v.Plaintext.String(), hexutil.Encode(plain))
				if !v.PaddingGiven {
					d.Padding = nil
					plain, err = d.plaintext()
					require.NoError(t, err)
					require.Len(t, plain, len(v.Plaintext))
				}
			})
		}
	}
}

// What the genuine node refuses, and what makes it panic, we refuse; what it
// opens we open.
func TestGenuineMalformedMessages(t *testing.T) {
	panics := 0
	for _, v := range vectors[messageVector](t, "messages-malformed.json") {
		t.Run(v.Kind+"/"+v.Name, func(t *testing.T) {
			m, err := v.open(t, v.Kind == "asymmetric")
			if v.Verdict == "opened" {
				require.NoError(t, err)
				v.requireOpened(t, m)
				return
			}
			require.ErrorIs(t, err, ErrCannotOpen)
		})
		if v.Verdict == "panics" {
			panics++
		}
	}
	require.NotZero(t, panics)
}
