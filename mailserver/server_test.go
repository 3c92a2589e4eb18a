package mailserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"whisperpush/desk"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

var (
	_ Store                  = (*archive.Archive)(nil)
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

// inTurn does what a peer has a turn for.
func inTurn(peer enode.ID, do func(*desk.Turn)) {
	ctx, cancel := context.WithCancel(context.Background())
	d := desk.New(desk.Limits{Turns: 1, Lent: 1, PerPeer: 1, PerSource: 1, Queue: 1, Rate: 1, Burst: 1}, desk.Server[int]{
		Serve: func(_ context.Context, turn *desk.Turn, _ int) {
			defer cancel()
			do(turn)
		},
		Panicked: func(cause any) { panic(cause) },
	})
	d.Offer(peer, "", 0, time.Now())
	d.Run(ctx)
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

// TestUsefulPeers: a peer is of use whose request was answered, with whatever, and
// not one whose request was refused.
func TestUsefulPeers(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.answer(all(mailwire.List))
		b.answer(all(mailwire.Classic))
		require.Equal(t, []enode.ID{bob, bob}, b.sender.used)
		for _, edit := range []func(*whisper.Draft){
			func(d *whisper.Draft) { d.Sign = nil },
			func(d *whisper.Draft) { d.Key = bytes.Repeat([]byte{8}, whisper.SymmetricKeySize) },
			func(d *whisper.Draft) { d.Now = time.Now().Add(48 * time.Hour) },
			func(d *whisper.Draft) { d.Payload = []byte{0xc1, 0x80} },
		} {
			b.ask(bob, all(mailwire.List), edit)
		}
		synctest.Wait()
		b.sender.take(bob) // the refusals
		b.store.fail = errors.New("disk on fire")
		b.answer(all(mailwire.List))
		require.Len(t, b.sender.used, 2)
	})
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
