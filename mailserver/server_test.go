package mailserver

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

var (
	_ Store                  = (*Archive)(nil)
	_ Store                  = (*memoryStore)(nil)
	_ Sender                 = (*whisper.Node)(nil)
	_ whisper.RequestHandler = (*Server)(nil)

	serverKey = bytes.Repeat([]byte{7}, whisper.SymmetricKeySize)
	bob       = enode.ID{0xb0}
	carol     = enode.ID{0xca}
)

// bench is a server in a synctest bubble with all around it.
type bench struct {
	t      *testing.T
	store  *memoryStore
	sender *recorder
	server *Server
	log    *bytes.Buffer
}

// inBench runs f with a started server, and waits for its end.
func inBench(t *testing.T, edit func(*ServerConfig), f func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, store: new(memoryStore), sender: new(recorder), log: new(bytes.Buffer)}
		cfg := ServerConfig{
			Store: b.store, Sender: b.sender, Key: serverKey,
			Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		if edit != nil {
			edit(&cfg)
		}
		var err error
		b.server, err = NewServer(cfg)
		require.NoError(t, err)
		b.server.Start()
		defer b.server.Stop()
		f(t, b)
	})
}

// fill archives n envelopes, one a second, the last of them now, on topics 0, 1,
// 2, 0 …
func (b *bench) fill(n int) (hashes []common.Hash) {
	now := uint32(time.Now().Unix())
	for i := range n {
		e := b.envelope(now-uint32(n-1-i), topic(i%3))
		b.store.add(e)
		hashes = append(hashes, e.Hash())
	}
	return hashes
}

// topic returns topics whose bloom filters do not cover each other.
func topic(i int) whisper.Topic { return whisper.Topic{byte(i), 0x40, 0x80, 0} }

func (b *bench) envelope(sent uint32, topic whisper.Topic) *whisper.Envelope {
	e, err := whisper.Seal(b.t.Context(), whisper.Draft{
		Payload: []byte("hello"), Padding: []byte{}, Topic: topic, TTL: 10, Key: serverKey, Now: time.Unix(int64(sent), 0),
	})
	require.NoError(b.t, err)
	return e
}

// seal puts a payload into the envelope of a packet 126.
func (b *bench) seal(payload []byte, edit ...func(*whisper.Draft)) *whisper.Envelope {
	signer, err := crypto.GenerateKey()
	require.NoError(b.t, err)
	d := whisper.Draft{Payload: payload, Key: serverKey, Sign: signer}
	for _, f := range edit {
		f(&d)
	}
	e, err := whisper.Seal(b.t.Context(), d)
	require.NoError(b.t, err)
	return e
}

// ask sends a request and returns its id.
func (b *bench) ask(peer enode.ID, r mailwire.Request, edit ...func(*whisper.Draft)) common.Hash {
	payload, err := r.Encode()
	require.NoError(b.t, err)
	if r.Form == mailwire.Plain {
		b.server.HandleRequest(peer, payload)
		return r.ID
	}
	e := b.seal(payload, edit...)
	b.server.HandleRequest(peer, e.Raw())
	return e.Hash()
}

// answer asks and returns the whole answer, with the one end mark that a form
// other than classic has.
func (b *bench) answer(r mailwire.Request, edit ...func(*whisper.Draft)) ([]common.Hash, mailwire.Complete) {
	id := b.ask(bob, r, edit...)
	synctest.Wait()
	hashes, ends := b.sender.take(bob)
	if r.Form == mailwire.Classic {
		require.Empty(b.t, ends, "a classic answer has no end mark")
		return hashes, mailwire.Complete{}
	}
	require.Len(b.t, ends, 1)
	require.Equal(b.t, id, ends[0].ID)
	return hashes, ends[0]
}

// counted returns how many requests had an outcome.
func (b *bench) counted(form string, o outcome) int {
	var m dto.Metric
	require.NoError(b.t, b.server.metrics.requests.WithLabelValues(form, string(o)).Write(&m))
	return int(m.Counter.GetValue())
}

func all(form mailwire.Form) mailwire.Request {
	return mailwire.Request{Form: form, Upper: math.MaxUint32}
}

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

func TestTimeEdges(t *testing.T) {
	const maxTime = math.MaxUint32
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Range = 200 * 365 * 24 * time.Hour }, func(t *testing.T, b *bench) {
		env := func(expiry, ttl uint32) common.Hash {
			raw := []byte{0xd4, 0x84, byte(expiry >> 24), byte(expiry >> 16), byte(expiry >> 8), byte(expiry)}
			raw = append(raw, 0x84, byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl))
			raw = append(raw, 0x84, 1, 2, 3, 4, 0x83, 9, 9, 9, 0x80)
			raw[0] = 0xc0 + byte(len(raw)-1)
			e, err := whisper.DecodeEnvelope(raw)
			require.NoError(t, err)
			b.store.add(e)
			return e.Hash()
		}
		older := env(1<<30, 1<<31)        // TTL beyond expiry: sent at 0
		newest := env(maxTime, 1<<24)     // expiry at the end of time
		inside := env(1<<30+1<<24, 1<<24) // sent at 2^30
		everything := []common.Hash{older, inside, newest}

		tests := []struct {
			name         string
			lower, upper uint32
			want         []common.Hash
		}{
			{"upper at the end of time", 0, maxTime, everything},
			{"upper one before", 0, maxTime - 1, everything},
			{"one second", 1 << 30, 1 << 30, []common.Hash{inside}},
			{"lower above upper", 1 << 30, 1<<30 - 1, nil},
			{"end of time alone", maxTime, maxTime, nil},
			{"zero alone", 0, 0, []common.Hash{older}},
		}
		for _, tt := range tests {
			got, _ := b.answer(mailwire.Request{Lower: tt.lower, Upper: tt.upper})
			require.Equal(t, tt.want, got, tt.name)
		}
		got, end := b.answer(mailwire.Request{Form: mailwire.List})
		require.Empty(t, end.Refusal, "upper 0 in a list means to the end")
		require.ElementsMatch(t, everything, got)
		_, end = b.answer(mailwire.Request{Form: mailwire.List, Lower: 2, Upper: 1})
		require.Equal(t, mailwire.RefusedRequest, end.Refusal.Word())
		_, end = b.answer(mailwire.Request{Form: mailwire.Fixed, Lower: 2, Upper: 1})
		require.Equal(t, mailwire.RefusedRequest, end.Refusal.Word())
	})
}

func TestPages(t *testing.T) {
	for _, form := range []mailwire.Form{mailwire.Fixed, mailwire.List, mailwire.Plain} {
		t.Run(form.String(), func(t *testing.T) {
			inBench(t, func(cfg *ServerConfig) { cfg.Plain = true }, func(t *testing.T, b *bench) {
				want := b.fill(25)
				r := all(form)
				r.Limit, r.Batch = 10, form == mailwire.Plain
				var got []common.Hash
				for _, n := range []int{10, 10, 5} {
					hashes, end := b.answer(r)
					require.Empty(t, end.Refusal)
					require.Len(t, hashes, n)
					require.Equal(t, hashes[n-1], end.Last)
					got = append(got, hashes...)
					r.Cursor = end.Cursor
				}
				require.Zero(t, r.Cursor, "no more")
				for i := range want {
					require.Equal(t, want[len(want)-1-i], got[i], "newest first, none twice")
				}
			})
		})
	}
}

func TestTopicsAndBloom(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.fill(9)
		r := all(mailwire.List)
		r.Topics = []whisper.Topic{topic(1), topic(2)}
		got, _ := b.answer(r)
		require.Len(t, got, 6)

		bloom := topic(2).Bloom()
		for _, form := range []mailwire.Form{mailwire.Classic, mailwire.Fixed, mailwire.List} {
			r := all(form)
			r.Bloom = &bloom
			got, _ := b.answer(r)
			require.Len(t, got, 3, form)
		}
	})
}

func TestHashes(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		have := b.fill(20)
		r := mailwire.Request{Form: mailwire.List, Lower: 5, Upper: 4, Hashes: []common.Hash{have[3], {1}, have[1]}}
		for _, i := range []int{5, 6, 7, 8, 9, 10, 11, 12} {
			r.Hashes = append(r.Hashes, have[i])
		}
		got, end := b.answer(r)
		require.Equal(t, append([]common.Hash{have[3], have[1]}, have[5:13]...), got, "as asked for, whatever the range")
		require.Equal(t, have[12], end.Last)
		require.Zero(t, end.Cursor)

		got, end = b.answer(mailwire.Request{Form: mailwire.List, Hashes: []common.Hash{{1}}})
		require.Empty(t, got)
		require.Zero(t, end.Last)
		require.Empty(t, end.Refusal)
	})
}

// TestLateArrival: an envelope that claims an old time is committed after the
// client's window was answered. The next question returns it.
func TestLateArrival(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		want := b.fill(5)
		r := all(mailwire.List)
		r.Cursor, r.Limit = mailwire.Since(0), 3

		got, end := b.answer(r)
		require.Equal(t, want[:3], got)
		require.False(t, end.Cursor.Complete)
		r.Cursor = end.Cursor
		got, end = b.answer(r)
		require.Equal(t, want[3:], got)
		require.Equal(t, mailwire.Cursor{Seq: 5, Ascending: true, Complete: true}, end.Cursor)
		r.Cursor = end.Cursor
		got, end = b.answer(r)
		require.Empty(t, got, "nothing new")
		require.Equal(t, r.Cursor, end.Cursor)

		late := b.envelope(uint32(time.Now().Add(-29*24*time.Hour).Unix()), topic(9))
		b.store.add(late)
		got, end = b.answer(r)
		require.Equal(t, []common.Hash{late.Hash()}, got)
		require.EqualValues(t, 6, end.Cursor.Seq)

		// What does not match is not looked at again.
		r.Topics = []whisper.Topic{{0x77}}
		_, end = b.answer(r)
		require.EqualValues(t, 6, end.Cursor.Seq)

		// The cursor is from another, longer log.
		r = all(mailwire.List)
		r.Cursor = mailwire.Since(1000)
		got, end = b.answer(r)
		require.Len(t, got, 6)
		require.EqualValues(t, 6, end.Cursor.Seq)
	})
}

// TestScanLimit: a page may be empty and still not the last.
func TestScanLimit(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Scan = 4 }, func(t *testing.T, b *bench) {
		b.fill(10)
		b.store.add(b.envelope(uint32(time.Now().Unix()), topic(9)))
		for _, cursor := range []mailwire.Cursor{{}, mailwire.Since(0)} {
			r := all(mailwire.List)
			r.Topics, r.Cursor = []whisper.Topic{topic(9)}, cursor
			found := 0
			for range 3 {
				got, end := b.answer(r)
				found += len(got)
				r.Cursor = end.Cursor
			}
			require.Equal(t, 1, found)
			require.Equal(t, cursor.Ascending, r.Cursor.Complete)
		}
		// The classic form has no cursor, so the server goes on by itself.
		bloom := topic(9).Bloom()
		got, _ := b.answer(mailwire.Request{Upper: math.MaxUint32, Bloom: &bloom})
		require.Len(t, got, 1)
	})
}

func TestRangeLimit(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Range = 24 * time.Hour }, func(t *testing.T, b *bench) {
		now := time.Now()
		var want []common.Hash
		for _, days := range []int{700, 3, 2, 0} { // in the order of the log
			e := b.envelope(uint32(now.AddDate(0, 0, -days).Unix()), topic(1))
			b.store.add(e)
			want = append([]common.Hash{e.Hash()}, want...)
		}
		r := all(mailwire.List)
		var got []common.Hash
		pages := 0
		for more := true; more; more = !r.Cursor.IsZero() {
			hashes, end := b.answer(r)
			got = append(got, hashes...)
			r.Cursor = end.Cursor
			pages++
		}
		require.Equal(t, 4+700/maxWindows, pages, "most windows without envelopes are skipped")
		require.Equal(t, want, got)

		classic, _ := b.answer(all(mailwire.Classic))
		require.Len(t, classic, 4)
	})
}

// TestForeignCursor: the client was served by a mailserver of status-go before.
func TestForeignCursor(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		want := b.fill(10)
		r := all(mailwire.Fixed)
		sixth := b.store.records[5].Sent
		var err error
		r.Cursor, err = mailwire.ParseCursor(append([]byte{byte(sixth >> 24), byte(sixth >> 16), byte(sixth >> 8), byte(sixth)}, want[5][:]...))
		require.NoError(t, err)
		got, _ := b.answer(r)
		require.Len(t, got, 6)
		require.Equal(t, want[5], got[0])
	})
}

func TestBatch(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		big := make([]byte, 100<<10)
		var want []common.Hash
		for i := range 7 {
			e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: append(big, byte(i)), Key: serverKey})
			require.NoError(t, err)
			b.store.add(e)
			want = append(want, e.Hash())
		}
		r := all(mailwire.List)
		r.Batch, r.Cursor = true, mailwire.Since(0)
		b.ask(bob, r)
		synctest.Wait()
		var packets int
		for _, s := range b.sender.sent[bob] {
			if s.end != nil {
				continue
			}
			require.True(t, s.batch)
			size := 0
			for _, e := range s.envs {
				size += len(e.Raw())
			}
			require.LessOrEqual(t, size, sendBytes)
			packets++
		}
		require.Equal(t, 4, packets)
		got, ends := b.sender.take(bob)
		require.Equal(t, want, got)
		require.Len(t, ends, 1)
	})
}

func TestClassicIsCutOff(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Rows, cfg.Limits.ClassicRows = 4, 10 }, func(t *testing.T, b *bench) {
		want := b.fill(30)
		got, _ := b.answer(all(mailwire.Classic))
		require.Equal(t, want[:10], got)
		require.Equal(t, 1, b.counted("classic", truncated))
	})
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.ClassicBytes = 1000 }, func(t *testing.T, b *bench) {
		b.fill(300)
		got, _ := b.answer(all(mailwire.Classic))
		require.NotEmpty(t, got)
		require.Less(t, len(got), 30)
		require.Equal(t, 1, b.counted("classic", truncated))
	})
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

func TestStoreFailures(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.store.fail = errors.New("disk on fire")
		_, end := b.answer(all(mailwire.List))
		require.Equal(t, mailwire.RefusedFailed, end.Refusal.Word())
		require.NotContains(t, string(end.Refusal), "fire", "an operator's matter")
		require.Contains(t, b.log.String(), "disk on fire")
		got, _ := b.answer(all(mailwire.Classic))
		require.Empty(t, got)
		require.Equal(t, 1, b.counted("list", failed))
		require.Equal(t, 1, b.counted("classic", failed))
	})
	for name, p := range map[string]any{"string": "boom", "error": errors.New("boom")} {
		t.Run("panic with "+name, func(t *testing.T) {
			inBench(t, nil, func(t *testing.T, b *bench) {
				want := b.fill(1)
				b.store.panics = p
				for range 10 {
					b.ask(bob, all(mailwire.List))
				}
				synctest.Wait()
				require.Equal(t, 10, b.counted("unknown", panicked))
				b.store.panics = nil
				got, _ := b.answer(all(mailwire.Classic))
				require.Equal(t, want, got)
			})
		})
	}
}

// TestLogIsSilent: what a log must never say.
func TestLogIsSilent(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		hash := b.fill(3)[0]
		r := all(mailwire.List)
		r.Topics = []whisper.Topic{{0xde, 0xad, 0xbe, 0xef}}
		b.answer(r)
		b.answer(all(mailwire.Classic), func(d *whisper.Draft) { d.Sign = nil })
		text := strings.ToLower(b.log.String())
		require.NotEmpty(t, text)
		for _, secret := range []string{"deadbeef", fmt.Sprintf("%x", bob[:4]), fmt.Sprintf("%x", hash[:4]), fmt.Sprintf("%x", serverKey[:8])} {
			require.NotContains(t, text, secret)
		}
	})
}

func TestNewServerRefuses(t *testing.T) {
	good := func() ServerConfig {
		return ServerConfig{Store: new(memoryStore), Sender: new(recorder), Key: serverKey}
	}
	for name, edit := range map[string]func(*ServerConfig){
		"no store":         func(c *ServerConfig) { c.Store = nil },
		"no sender":        func(c *ServerConfig) { c.Sender = nil },
		"no key":           func(c *ServerConfig) { c.Key = nil },
		"short key":        func(c *ServerConfig) { c.Key = make([]byte, 5) },
		"negative rows":    func(c *ServerConfig) { c.Limits.Rows = -1 },
		"negative timeout": func(c *ServerConfig) { c.Limits.Timeout = -time.Second },
		"metrics twice": func(c *ServerConfig) {
			c.Registerer = prometheus.NewRegistry()
			_, err := NewServer(*c)
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			edit(&cfg)
			_, err := NewServer(cfg)
			require.Error(t, err)
		})
	}
}

func TestLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &recorder{gates: map[enode.ID]chan struct{}{bob: make(chan struct{})}}
		store := new(memoryStore)
		b := &bench{t: t, store: store, sender: sender}
		var err error
		b.server, err = NewServer(ServerConfig{Store: store, Sender: sender, Key: serverKey})
		require.NoError(t, err)
		b.ask(bob, all(mailwire.Classic))
		require.Equal(t, 1, b.counted("unknown", stopped), "not started")
		b.fill(1)
		b.server.Start()
		b.server.Start()
		b.ask(bob, all(mailwire.Classic)) // hangs at bob's gate
		synctest.Wait()
		b.server.Stop()
		b.server.Stop()
		b.ask(bob, all(mailwire.Classic))
		require.Equal(t, 2, b.counted("unknown", stopped))

		never, err := NewServer(ServerConfig{Store: store, Sender: sender, Key: serverKey})
		require.NoError(t, err)
		never.Stop()
	})
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
		packet := payload
		if wrap {
			e, err := whisper.Seal(context.Background(), whisper.Draft{Payload: payload, Key: serverKey, Sign: signer})
			require.NoError(t, err)
			packet = e.Raw()
		}
		s.serve(context.Background(), bob, packet)
		sender.take(bob)
	})
}
