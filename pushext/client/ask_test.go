package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// mute is a server that never answers, and a channel on which its requests are told.
func mute(t *testing.T) (*scripted, <-chan struct{}) {
	s := startScripted(t)
	asked := make(chan struct{}, 100)
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		asked <- struct{}{}
		return pushwire.Reply{}, nil, false
	}
	return s, asked
}

// What is under way ends when the app closes the device or puts it to sleep, and
// nothing else waits for it.
func TestCloseAndSleepInterrupt(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*Device)
		want error
	}{
		"close": {func(d *Device) { require.NoError(t, d.Close()) }, ErrClosed},
		"sleep": {(*Device).Sleep, ErrAsleep},
	} {
		t.Run(name, func(t *testing.T) {
			s, asked := mute(t)
			d := s.open(t, nil)
			done := make(chan error, 2)
			go func() { _, err := d.Status(t.Context()); done <- err }()
			<-asked
			go func() { done <- d.Unregister(t.Context()) }() // waits for its turn, or comes too late
			require.False(t, d.Active())
			require.NoError(t, d.Shown(t.Context(), [32]byte{1}))
			_, err := d.DirectRoute("direct")
			require.NoError(t, err)
			start := time.Now()
			c.end(d)
			require.ErrorIs(t, <-done, c.want)
			if c.want == ErrClosed {
				require.ErrorIs(t, <-done, ErrClosed)
				_, err := d.Status(t.Context())
				require.ErrorIs(t, err, ErrClosed)
				d.Sleep()
				require.ErrorIs(t, d.Connect(t.Context()), ErrClosed, "it stays closed")
			}
			require.Less(t, time.Since(start), attemptTimeout/2, "nobody waited for the time of an attempt")
		})
	}
}

// A device that was put to sleep wakes up when it is asked.
func TestAwakeAgain(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	d := s.open(t, nil)
	for range 3 {
		_, err := d.Status(t.Context())
		require.NoError(t, err)
		d.Sleep()
		require.Nil(t, d.session)
	}
}

// deaf is the enode URL of a port at which nobody listens.
func deaf(t *testing.T, key *ecdsa.PublicKey) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return enode.NewV4(key, net.IPv4(127, 0, 0, 1), listener.Addr().(*net.TCPAddr).Port, 0).URLv4()
}

// A server that is down is tried for as long as there is time, and the error tells what
// was in the way, not that something of ours was cancelled.
func TestServerDown(t *testing.T) {
	key := newTestKey(t)
	d, err := Open(t.Context(), Config{Server: deaf(t, &key.PublicKey), PushKey: hexutil.Encode(crypto.CompressPubkey(&key.PublicKey)), Chats: []Chat{family()}})
	require.NoError(t, err)
	defer d.Close()
	const given = 1500 * time.Millisecond
	for name, ask := range map[string]func(ctx context.Context) error{
		"status":   func(ctx context.Context) error { _, err := d.Status(ctx); return err },
		"register": func(ctx context.Context) error { return d.Register(ctx, route()) },
		"history":  func(ctx context.Context) error { _, err := d.History(ctx); return err },
		"fetch":    func(ctx context.Context) error { _, err := d.Fetch(ctx, make([]common.Hash, 1)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), given)
			defer cancel()
			err := ask(ctx)
			require.GreaterOrEqual(t, time.Since(start), given)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			var gaveUp *GaveUpError
			require.ErrorAs(t, err, &gaveUp)
			require.Greater(t, gaveUp.Attempts, 2)
			require.ErrorContains(t, gaveUp.Cause, "cannot be reached")
		})
	}
	t.Run("no time given", func(t *testing.T) {
		_, err := d.Status(t.Context())
		var gaveUp *GaveUpError
		require.ErrorAs(t, err, &gaveUp)
		require.Equal(t, maxAttempts, gaveUp.Attempts)
		require.NotErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	})
}

// The end of a context of ours is not taken for that of the caller's.
func TestBlame(t *testing.T) {
	why := errors.New("why")
	inner, cancel := context.WithCancelCause(t.Context())
	require.Equal(t, why, blame(t.Context(), inner, why))
	require.NoError(t, blame(t.Context(), inner, nil))
	require.NotErrorIs(t, blame(t.Context(), inner, context.Canceled), context.Canceled, "of somebody else")
	cancel(why)
	require.Equal(t, why, blame(t.Context(), inner, context.Canceled))
	over, end := context.WithCancel(t.Context())
	end()
	require.Equal(t, context.Canceled, blame(over, inner, context.Canceled))
}

// What no server would take is refused before anybody is asked, by name.
func TestRegisterRefusesBeforeItAsks(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	d := s.open(t, nil)
	for want, change := range map[string]func(*Registration){
		"Registration.Routes is empty":             func(r *Registration) { r.Routes = nil },
		"Registration.Routes[0].Provider is empty": func(r *Registration) { r.Routes[0].Provider = "" },
		"Registration.Routes[0].Address is empty":  func(r *Registration) { r.Routes[0].Address = nil },
		"Registration.Lifetime is -1s":             func(r *Registration) { r.Lifetime = -time.Second },
		"address of 1025 bytes, at most 1024":      func(r *Registration) { r.Routes[0].Address = make([]byte, 1025) },
		"group id of 33 bytes, at most 32":         func(r *Registration) { r.Group = make([]byte, 33) },
		"root and handle come together":            func(r *Registration) { r.Preferences.Root = make([]byte, pushwire.RootSize) },
		"routes, at most 4":                        func(r *Registration) { r.Routes = append(r.Routes, r.Routes[0], r.Routes[0], r.Routes[0], r.Routes[0]) },
		"provider name of 33 bytes, at most 32":    func(r *Registration) { r.Routes[0].Provider = "a provider with far too long a name"[:33] },
	} {
		r := route()
		change(&r)
		require.ErrorContains(t, d.Register(t.Context(), r), want)
	}
	require.ErrorContains(t, d.SetChats(t.Context(), []Chat{{Name: "x"}}), `chat "x" needs`)
	require.Empty(t, s.seen())
	require.Nil(t, d.session, "nobody was dialled")
	require.Equal(t, form(""), d.state.Asked)
	for want, cfg := range map[string]Config{
		"Config.Server is empty":  {PushKey: "04"},
		"Config.PushKey is empty": {Server: s.peer.Enode.URLv4()},
		"Config.PushKey: ":        {Server: s.peer.Enode.URLv4(), PushKey: "zz"},
	} {
		_, err := Open(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
}

// A Register that the server refuses leaves the device as it was, and one whose reply
// is lost leaves it able to read either form.
func TestFailedRegisterDeafensNobody(t *testing.T) {
	s := startScripted(t)
	var mode string
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if _, ok := req.Body.(*pushwire.Register); ok {
			switch mode {
			case "refuse":
				return pushwire.Reply{Code: pushwire.Limit, Text: "no", State: pushwire.Active}, nil, true
			case "silence":
				return pushwire.Reply{}, nil, false
			}
		}
		return s.gives(req, from)
	}
	store := new(MemoryStore)
	d := s.open(t, store)
	require.NoError(t, d.Register(t.Context(), route()))
	sealed := d.push(t, 1)
	inPlain, err := pushwire.PlainPayload(pushwire.Payload{Kind: pushwire.Canary})
	require.NoError(t, err)
	reads := func(d *Device, body []byte) bool {
		_, err := d.Receive(t.Context(), body)
		return err == nil
	}
	plain := route()
	plain.Plain = true

	s.change(func() { mode = "refuse" })
	require.Error(t, d.Register(t.Context(), plain))
	require.True(t, reads(d, sealed), "a push of the registration that still stands")
	require.False(t, reads(d, inPlain))

	s.change(func() { mode = "silence" })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, d.Register(ctx, plain), context.DeadlineExceeded)
	again := s.open(t, store)
	for _, d := range []*Device{d, again} {
		require.True(t, reads(d, sealed), "perhaps it still stands")
		require.True(t, reads(d, inPlain), "perhaps it does not")
	}

	s.change(func() { mode = "refuse" })
	require.Error(t, again.Register(t.Context(), route()))
	require.True(t, reads(again, sealed))
	require.True(t, reads(again, inPlain), "a refusal does not tell which of them stands")

	s.change(func() { mode = "" })
	require.NoError(t, again.Register(t.Context(), plain))
	require.False(t, reads(again, sealed))
	require.True(t, reads(again, inPlain))
	require.NoError(t, again.Register(t.Context(), route()))
	require.True(t, reads(again, sealed))
	require.False(t, reads(again, inPlain))
}

// A change of chats whose reply is lost is told again in full, whatever became of it.
func TestSetChatsAfterSilence(t *testing.T) {
	s := startScripted(t)
	silent := true
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if silent {
			return pushwire.Reply{}, nil, false
		}
		return s.gives(req, from)
	}
	d := s.open(t, nil)
	chat := func(name string, mode pushwire.Mode) Chat {
		return Chat{Name: name, Topic: whisper.TopicFor(name), Key: family().Key, Mode: mode}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.Error(t, d.SetChats(ctx, []Chat{family(), chat("work", pushwire.Every)}))
	s.change(func() { silent = false })
	require.NoError(t, d.SetChats(t.Context(), []Chat{family(), chat("sport", pushwire.Every)}))
	all := s.seen()
	require.ElementsMatch(t, []pushwire.Channel{{Topic: whisper.TopicFor("sport")}, {Topic: whisper.TopicFor("work"), Mode: pushwire.Removed}},
		all[len(all)-1].Body.(*pushwire.Channels).Channels)
	require.NoError(t, d.SetChats(t.Context(), []Chat{family(), chat("sport", pushwire.Every)}))
	require.Len(t, s.seen(), len(all), "nothing is unsure any more")
}
