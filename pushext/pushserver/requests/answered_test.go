package requests

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/desk"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// stream is a Caller that counts what it is told.
type stream struct {
	id desk.ID

	left bool

	mu       sync.Mutex // guards the following
	sent     int
	answered int
	late     bool // something was sent behind the end
}

func (s *stream) ID() desk.ID            { return s.id }
func (s *stream) Source() whisper.Source { return whisper.Source(s.id[:]) }
func (s *stream) Up() bool               { return !s.left }
func (s *stream) Stays() bool            { return false }
func (s *stream) Useful()                {}
func (s *stream) Proved()                {}

func (s *stream) Send(_ context.Context, envs ...*whisper.Envelope) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent += len(envs)
	s.late = s.late || s.answered > 0
	return nil
}

func (s *stream) Answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered++
}

// Whatever becomes of a request, its caller is told once that nothing more comes, and then nothing
// does.
func TestEveryRequestIsAnsweredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, registration.Limits{Queue: 4, PeerQueue: 1, PoW: 1e-9})
		p := h.open()
		key, err := crypto.GenerateKey()
		require.NoError(t, err)
		good, err := pushwire.SealRequest(t.Context(), pushwire.NewRequest(&pushwire.Status{}, time.Now()), key, &h.options.PushKeys.Current.PublicKey, 1e-9)
		require.NoError(t, err)
		seal := func(d whisper.Draft) *whisper.Envelope {
			d.Key = hallKey
			env, err := whisper.Seal(t.Context(), d)
			require.NoError(t, err)
			return env
		}
		long := seal(whisper.Draft{Topic: pushwire.Topic(), Payload: bytes.Repeat([]byte{1}, pushwire.MaxData)})
		var callers []*stream
		for i, env := range []*whisper.Envelope{
			good,
			seal(whisper.Draft{Topic: whisper.Topic{1}}), // for somebody else
			long, // for nobody
			seal(whisper.Draft{Topic: pushwire.Topic()}), // that cannot be opened
			good,                                                 // once more: replayed
			good, good, good, good, good, good, good, good, good, // more than there is room for
		} {
			c := &stream{id: desk.ID{byte(i + 1)}}
			callers = append(callers, c)
			p.Handle(c, env)
		}
		p.Start()
		synctest.Wait()
		time.Sleep(time.Minute) // refusals take their time
		synctest.Wait()
		p.Stop()
		answers := 0
		for i, c := range callers {
			require.Equal(t, 1, c.answered, "request %d", i)
			require.False(t, c.late, "request %d", i)
			answers += c.sent
		}
		require.GreaterOrEqual(t, answers, 2, "those that can be answered are")
	})
}

// A Fetch whose sender has left is not answered: it would keep waiting those who are there. Other requests change something.
func TestWhoLeftIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, registration.Limits{PoW: 1e-9})
		p := h.open()
		key, err := crypto.GenerateKey()
		require.NoError(t, err)
		ask := func(body pushwire.RequestBody, left bool) *stream {
			env, err := pushwire.SealRequest(t.Context(), pushwire.NewRequest(body, time.Now()), key, &h.options.PushKeys.Current.PublicKey, 1e-9)
			require.NoError(t, err)
			c := &stream{id: desk.ID{1}, left: left}
			p.Handle(c, env)
			return c
		}
		p.Start()
		defer p.Stop()
		for _, tt := range []struct {
			body pushwire.RequestBody
			left bool
			sent int
		}{
			{&pushwire.Fetch{}, false, 1}, {&pushwire.Fetch{}, true, 0}, {&pushwire.Status{}, true, 1},
		} {
			c := ask(tt.body, tt.left)
			time.Sleep(time.Second)
			synctest.Wait()
			require.Equal(t, tt.sent, c.sent, "%T, left %v", tt.body, tt.left)
			require.Equal(t, 1, c.answered)
		}
	})
}
