package mailserver

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/desk"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// TestGenuineAnswers asks what a genuine mailserver was asked, of an archive with
// what it had archived, and expects what it answered.
func TestGenuineAnswers(t *testing.T) {
	raw, err := os.ReadFile("../whisper/testdata/genuine/mail-requests.json")
	require.NoError(t, err)
	var file struct {
		Archive []struct {
			RLP hexutil.Bytes `json:"rlp"`
		} `json:"archive"`
		Cases []struct {
			Name    string        `json:"name"`
			Key     hexutil.Bytes `json:"key"`
			MinPoW  float64       `json:"minPoW"`
			Packet  hexutil.Bytes `json:"packet"`
			Answers []common.Hash `json:"answers"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Cases)

	// Where ours is not to do the same: the number of envelopes it sends.
	different := map[string]int{
		"upper all ones: wraps to an empty range":             7, // everything
		"76 bytes, status-go's limit of 1: not read":          1, // as status-go does
		"72 bytes, full bloom":                                5,
		"73 bytes: the rest is not read":                      5,
		"upper all ones less one":                             6,
		"8 bytes: everything in the range":                    5,
		"PoW above the mailserver's":                          5,
		"72 bytes, one topic":                                 3,
		"72 bytes, collided topic as the genuine client asks": 1,
	}
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			inBench(t, func(cfg *ServerConfig) { cfg.Key, cfg.MinPoW = c.Key, c.MinPoW }, func(t *testing.T, b *bench) {
				for _, e := range file.Archive {
					env, err := whisper.DecodeEnvelope(e.RLP)
					require.NoError(t, err)
					b.store.add(env)
				}
				if env, err := whisper.DecodeEnvelope(c.Packet); err == nil {
					time.Sleep(time.Until(time.Unix(int64(env.Sent()), 0)))
				}
				b.server.HandleRequest(bob, c.Packet)
				synctest.Wait()
				hashes, _ := b.sender.take(bob)
				if n, ok := different[c.Name]; ok {
					require.Len(t, hashes, n)
				}
				if len(hashes) == len(c.Answers) {
					require.ElementsMatch(t, c.Answers, hashes)
					require.Equal(t, c.Answers, append([]common.Hash{}, hashes...), "in the same order")
				} else {
					require.Contains(t, different, c.Name)
				}
			})
		})
	}
}

func TestRejections(t *testing.T) {
	stranger, err := crypto.GenerateKey()
	require.NoError(t, err)
	identity, err := crypto.GenerateKey()
	require.NoError(t, err)
	unsign := func(d *whisper.Draft) { d.Sign = nil }
	at := func(by time.Duration) func(*whisper.Draft) {
		return func(d *whisper.Draft) { d.Now = time.Now().Add(by) }
	}
	tests := []struct {
		name    string
		edit    func(*whisper.Draft)
		outcome outcome
		word    string // of the refusal, if the form has one
	}{
		{"good", func(*whisper.Draft) {}, answered, ""},
		{"for the public key", func(d *whisper.Draft) { d.Key, d.To = nil, &identity.PublicKey }, answered, ""},
		{"for another public key", func(d *whisper.Draft) { d.Key, d.To = nil, &stranger.PublicKey }, unopened, ""},
		{"wrong password", func(d *whisper.Draft) { d.Key = make([]byte, 32) }, unopened, ""},
		{"unsigned", unsign, unsigned, mailwire.RefusedRequest},
		{"an hour old", at(-time.Hour), answered, ""},
		{"an hour ahead", at(time.Hour), answered, ""},
		{"two days old", at(-48 * time.Hour), expired, mailwire.RefusedExpired},
		{"two days ahead", at(48 * time.Hour), expired, mailwire.RefusedExpired},
	}
	for _, form := range []mailwire.Form{mailwire.Classic, mailwire.List} {
		for _, tt := range tests {
			t.Run(form.String()+"/"+tt.name, func(t *testing.T) {
				inBench(t, func(cfg *ServerConfig) { cfg.Identity = identity }, func(t *testing.T, b *bench) {
					b.fill(3)
					id := b.ask(bob, all(form), tt.edit)
					synctest.Wait()
					hashes, ends := b.sender.take(bob)
					require.Equal(t, tt.outcome == answered, len(hashes) == 3)
					label := form.String()
					if tt.outcome == unopened {
						label = "unknown"
					}
					require.Equal(t, 1, b.counted(label, tt.outcome))
					if form == mailwire.Classic || tt.outcome == unopened {
						require.Empty(t, ends)
						return
					}
					require.Len(t, ends, 1)
					require.Equal(t, id, ends[0].ID)
					require.Equal(t, tt.word, ends[0].Refusal.Word())
				})
			})
		}
	}

	t.Run("PoW", func(t *testing.T) {
		inBench(t, func(cfg *ServerConfig) { cfg.MinPoW = 1e6 }, func(t *testing.T, b *bench) {
			_, end := b.answer(all(mailwire.List))
			require.Equal(t, mailwire.RefusedRequest, end.Refusal.Word())
			require.Equal(t, 1, b.counted("list", lowPoW))
		})
	})
	t.Run("plain is off", func(t *testing.T) {
		inBench(t, nil, func(t *testing.T, b *bench) {
			r := all(mailwire.Plain)
			r.ID, r.Batch = common.Hash{5}, true
			got, end := b.answer(r)
			require.Empty(t, got)
			require.Equal(t, mailwire.RefusedRequest, end.Refusal.Word())
			require.Equal(t, 1, b.counted("plain", plainOff))
		})
	})
	t.Run("malformed list", func(t *testing.T) {
		inBench(t, nil, func(t *testing.T, b *bench) {
			e := b.seal([]byte{0xc1, 0x80})
			b.server.HandleRequest(bob, e.Raw())
			synctest.Wait()
			_, ends := b.sender.take(bob)
			require.Len(t, ends, 1)
			require.Equal(t, mailwire.RefusedRequest, ends[0].Refusal.Word())
			require.Equal(t, 1, b.counted("list", malformed))
		})
	})
}

// TestCraftedEnvelopes: what made the genuine mailserver panic, and its kin:
// every short plaintext made by someone who knows the password, every short
// ciphertext for the public key, points off the curve and plain noise.
func TestCraftedEnvelopes(t *testing.T) {
	identity, err := crypto.GenerateKey()
	require.NoError(t, err)
	block, err := aes.NewCipher(serverKey)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	seal := func(plain []byte) []byte {
		nonce := make([]byte, gcm.NonceSize())
		return append(gcm.Seal(nil, nonce, plain, nil), nonce...)
	}

	inBench(t, func(cfg *ServerConfig) {
		cfg.Identity, cfg.Limits.PeerRequests, cfg.Limits.PeerQueue = identity, 1<<20, 1<<20
		cfg.Limits.Queue = 1 << 20
	}, func(t *testing.T, b *bench) {
		want := b.fill(2)
		n := 0
		throw := func(data []byte) {
			raw := b.rawEnvelope(data)
			b.server.HandleRequest(bob, raw)
			n++
		}
		for flags := range 8 {
			for size := range 80 {
				plain := bytes.Repeat([]byte{0xff}, size)
				if size > 0 {
					plain[0] = byte(flags)
				}
				throw(seal(plain))
			}
		}
		for size := range 200 {
			data := bytes.Repeat([]byte{0xfe}, size)
			if size > 0 {
				data[0] = 4 // an uncompressed point, off the curve
			}
			throw(data)
		}
		for _, raw := range [][]byte{nil, {}, {0xc0}, {0xff}, bytes.Repeat([]byte{0xf8}, 100), make([]byte, mailwire.MaxPacket+1)} {
			b.server.HandleRequest(bob, raw)
			n++
		}
		synctest.Wait()
		hashes, _ := b.sender.take(bob)
		require.Empty(t, hashes)
		require.Zero(t, b.counted("unknown", panicked))
		total := 0
		for _, o := range []outcome{unopened, malformed, unsigned} {
			for _, form := range []string{"unknown", "classic", "list", "fixed"} {
				total += b.counted(form, o)
			}
		}
		require.Equal(t, n, total, "every one is counted")

		got, _ := b.answer(all(mailwire.Classic))
		require.Equal(t, want, got, "and the server still answers")
	})
}

// TestNodeKeyTellsNothing: mail requests may be made for the node's key, which RLPx
// handshakes are encrypted to as well, by the same scheme. What somebody recorded of
// another's handshake can be put into a request so that it does decrypt. But it is
// never a request, and its sender learns nothing, not even that it was decrypted.
func TestNodeKeyTellsNothing(t *testing.T) {
	identity, err := crypto.GenerateKey()
	require.NoError(t, err)
	victim, err := crypto.GenerateKey()
	require.NoError(t, err)

	// The first packet of a handshake: its size, then the ciphertext.
	ours, theirs := net.Pipe()
	shaking := make(chan struct{})
	go func() {
		defer close(shaking)
		rlpx.NewConn(theirs, &identity.PublicKey).Handshake(victim)
	}()
	prefix := make([]byte, 2)
	_, err = io.ReadFull(ours, prefix)
	require.NoError(t, err)
	recorded := make([]byte, binary.BigEndian.Uint16(prefix))
	_, err = io.ReadFull(ours, recorded)
	require.NoError(t, err)
	ours.Close()
	<-shaking

	// The tag is over the ciphertext and the size, one behind the other.
	const tag = sha256.Size
	split := len(recorded) - tag
	moved := slices.Concat(recorded[:split], prefix, recorded[split:])
	damaged := slices.Clone(moved)
	damaged[split] ^= 1

	now := uint32(time.Now().Unix())
	inBench(t, func(cfg *ServerConfig) { cfg.Identity = identity }, func(t *testing.T, b *bench) {
		b.fill(1)
		envelope := func(data []byte) *whisper.Envelope {
			raw, err := rlp.EncodeToBytes([]any{now + 50, uint32(50), []byte{0, 0, 0, 0}, data, uint64(0)})
			require.NoError(t, err)
			e, err := whisper.DecodeEnvelope(raw)
			require.NoError(t, err)
			return e
		}
		m, err := envelope(moved).OpenAsymmetric(identity)
		require.NoError(t, err, "it does decrypt")
		require.Nil(t, m.Signer)
		require.Empty(t, m.Payload)
		_, err = envelope(damaged).OpenAsymmetric(identity)
		require.ErrorIs(t, err, whisper.ErrCannotOpen)
		for _, data := range [][]byte{recorded, moved, damaged} {
			b.server.HandleRequest(bob, envelope(data).Raw())
			synctest.Wait()
			hashes, ends := b.sender.take(bob)
			require.Empty(t, hashes)
			require.Empty(t, ends)
		}
		require.Equal(t, 3, b.counted("unknown", unopened)+b.counted("unknown", malformed))
	})
}

// rawEnvelope wraps data for the mailserver as it is.
func (b *bench) rawEnvelope(data []byte) []byte {
	expiry := uint32(time.Now().Unix()) + 50
	content := []byte{0x84, byte(expiry >> 24), byte(expiry >> 16), byte(expiry >> 8), byte(expiry), 50, 0x84, 0, 0, 0, 0}
	switch {
	case len(data) == 1 && data[0] < 0x80:
		content = append(content, data...)
	case len(data) < 56:
		content = append(append(content, 0x80+byte(len(data))), data...)
	default:
		content = append(append(content, 0xb8, byte(len(data))), data...)
	}
	content = append(content, 0x80)
	head := []byte{0xc0 + byte(len(content))}
	if len(content) >= 256 {
		head = []byte{0xf9, byte(len(content) >> 8), byte(len(content))}
	} else if len(content) >= 56 {
		head = []byte{0xf8, byte(len(content))}
	}
	raw := append(head, content...)
	_, err := whisper.DecodeEnvelope(raw)
	require.NoError(b.t, err)
	return raw
}

// FuzzHandleRequest: whatever arrives as a packet 126, or inside its envelope,
// the server neither panics nor answers an unsigned one.
func FuzzHandleRequest(f *testing.F) {
	identity, err := crypto.GenerateKey()
	require.NoError(f, err)
	for _, r := range []mailwire.Request{all(mailwire.Classic), all(mailwire.Fixed), all(mailwire.List), all(mailwire.Plain)} {
		payload, err := r.Encode()
		require.NoError(f, err)
		f.Add(payload, true)
		f.Add(payload, false)
	}
	store, sender := new(memoryStore), new(recorder)
	s, err := NewServer(ServerConfig{Store: store, Sender: sender, Key: serverKey, Identity: identity, Plain: true})
	require.NoError(f, err)
	signer, err := crypto.GenerateKey()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, payload []byte, wrap bool) {
		p := packet{from: s.peer(bob), plain: payload}
		if wrap {
			e, err := whisper.Seal(context.Background(), whisper.Draft{Payload: payload, Key: serverKey, Sign: signer})
			require.NoError(t, err)
			p = packet{from: s.peer(bob), env: e}
		}
		inTurn(bob, func(turn *desk.Turn) { s.serve(context.Background(), turn, p) })
		sender.take(bob)
	})
}
