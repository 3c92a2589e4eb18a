package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The process-wide ticker of go-ethereum's metrics and the lingering pool
		// goroutine of devp2p's in-memory node table.
		goleak.IgnoreAnyFunction("github.com/ethereum/go-ethereum/metrics.(*meterTicker).loop"),
		goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

func route() Registration {
	return Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte("a token")}}}
}

func TestRegisterAndConfirm(t *testing.T) {
	s := startScripted(t)
	var d *Device
	code := [pushwire.CodeSize]byte{1, 2, 3}
	var sealKey []byte
	s.answer = func(req pushwire.Request, _ *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		switch body := req.Body.(type) {
		case *pushwire.Register:
			sealKey = body.SealKey
			return pushwire.Reply{State: pushwire.Waiting, Body: &pushwire.RegisterReply{Version: body.Version, Challenged: true}}, nil, true
		case *pushwire.Confirm:
			if names := d.binding(t); !body.Proves(code, names.Server, names.Account) {
				return pushwire.Reply{Code: pushwire.WrongCode, Text: "wrong code", State: pushwire.Waiting}, nil, true
			}
		}
		return accepted(1), nil, true
	}
	store := new(MemoryStore)
	d = s.open(t, store)
	require.NoError(t, d.Register(t.Context(), route()))
	require.False(t, d.Active())
	require.Equal(t, []pushwire.Channel{{Topic: family().Topic}}, s.seen()[0].Body.(*pushwire.Register).Channels)

	wrong, err := pushwire.SealPayload(d.challenge(t, make([]byte, pushwire.CodeSize)), sealKey)
	require.NoError(t, err)
	_, err = d.Receive(t.Context(), wrong)
	require.True(t, IsRefused(err, pushwire.WrongCode), "%v", err)
	require.False(t, d.Active())

	right, err := pushwire.SealPayload(d.challenge(t, code[:]), sealKey)
	require.NoError(t, err)
	event, err := d.Receive(t.Context(), right)
	require.NoError(t, err)
	require.Equal(t, pushwire.Challenge, event.Kind)
	require.True(t, d.Active())

	// The account outlives the process.
	again := s.open(t, store)
	require.True(t, again.Active())
	require.Equal(t, d.state.RegistrationKey, again.state.RegistrationKey)
}

func (d *Device) binding(t *testing.T) pushwire.Binding {
	names, err := d.names()
	require.NoError(t, err)
	return names[0]
}

// challenge is one that the device answers.
func (d *Device) challenge(t *testing.T, code []byte) pushwire.Payload {
	names := d.binding(t)
	return pushwire.Payload{Kind: pushwire.Challenge, Code: code, Server: names.Server[:], Account: names.Account[:]}
}

// A server that a device uses cannot have it answer another server's challenge,
// nor one for another account, nor one that names nobody.
func TestAttackRelayedChallenge(t *testing.T) {
	s := startScripted(t)
	asked := 0
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		asked++
		return accepted(1), nil, true
	}
	d := s.open(t, nil)
	code := bytes.Repeat([]byte{9}, pushwire.CodeSize)
	another, ours := bytes.Repeat([]byte{3}, pushwire.PushKeySize), d.challenge(t, code)
	for _, p := range []pushwire.Payload{
		{Kind: pushwire.Challenge, Code: code},
		{Kind: pushwire.Challenge, Code: code, Server: another, Account: ours.Account},
		{Kind: pushwire.Challenge, Code: code, Server: ours.Server, Account: another},
	} {
		body, err := pushwire.SealPayload(p, d.state.SealPublicKey)
		require.NoError(t, err)
		_, err = d.Receive(t.Context(), body)
		require.ErrorIs(t, err, pushwire.ErrReceiver)
	}
	require.Zero(t, asked, "nobody is told anything")
	body, err := pushwire.SealPayload(ours, d.state.SealPublicKey)
	require.NoError(t, err)
	_, err = d.Receive(t.Context(), body)
	require.NoError(t, err)
	require.Equal(t, 1, asked)
}

// A device that asked for the plain form understands it, also after a restart,
// and one that did not is not fooled by it.
func TestPlainForm(t *testing.T) {
	s := startScripted(t)
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return accepted(1), nil, true
	}
	store := new(MemoryStore)
	d := s.open(t, store)
	challenge, err := pushwire.PlainPayload(d.challenge(t, make([]byte, pushwire.CodeSize)))
	require.NoError(t, err)
	_, err = d.Receive(t.Context(), challenge)
	require.ErrorIs(t, err, pushwire.ErrMalformed)
	plain := route()
	plain.Plain = true
	require.NoError(t, d.Register(t.Context(), plain))
	again := s.open(t, store)
	for _, d := range []*Device{d, again} {
		event, err := d.Receive(t.Context(), challenge)
		require.NoError(t, err)
		require.Equal(t, pushwire.Challenge, event.Kind)
	}
}

func TestReceiveShowsWhatWasAskedForOnce(t *testing.T) {
	s := startScripted(t)
	first, second := letter(t, "first", 2*time.Second), letter(t, "second", time.Second)
	unasked := letter(t, "unasked", 0)
	s.answer = func(req pushwire.Request, _ *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		fetch := req.Body.(*pushwire.Fetch)
		// The server slips in an envelope, and one of them twice.
		return pushwire.Reply{State: pushwire.Active, Body: &pushwire.FetchReply{Sent: fetch.Hashes[:2], Missing: fetch.Hashes[2:]}},
			[]*whisper.Envelope{second, unasked, first, first}, true
	}
	d := s.open(t, nil)
	gone := common.Hash{9}
	body, err := pushwire.SealPayload(pushwire.Payload{
		Kind: pushwire.Messages, Seq: 1, Hashes: []common.Hash{second.Hash(), first.Hash(), gone},
	}, d.state.SealPublicKey)
	require.NoError(t, err)

	event, err := d.Receive(t.Context(), body)
	require.NoError(t, err)
	require.False(t, event.Gap)
	require.Equal(t, []common.Hash{gone}, event.Missing)
	require.Len(t, event.Previews, 2)
	require.Equal(t, "first", event.Previews[0].Text, "oldest first")
	require.Equal(t, "second", event.Previews[1].Text)
	require.Equal(t, "family", event.Previews[0].Chat)
	require.Contains(t, event.Previews[0].Link(), first.Hash().Hex())
	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))

	event, err = d.Receive(t.Context(), body)
	require.NoError(t, err)
	require.Empty(t, event.Previews, "the same push again shows nothing")
	require.Len(t, s.seen(), 2, "and the receipt is given again")
}

func TestRepeatsWhatMaySucceed(t *testing.T) {
	var limits pushwire.Limits
	limits.PoW = 0.4
	ahead := 20 * time.Minute
	for name, refusal := range map[string]struct {
		reply   pushwire.Reply
		silence bool
	}{
		"busy":     {reply: pushwire.Reply{Code: pushwire.Busy, Text: "busy"}},
		"internal": {reply: pushwire.Reply{Code: pushwire.Internal, Text: "disk full"}},
		"clock":    {reply: pushwire.Reply{Code: pushwire.Clock, Text: "clock", Body: &pushwire.ClockReply{Now: uint64(time.Now().Add(ahead).UnixMilli())}}},
		"work":     {reply: pushwire.Reply{Code: pushwire.Work, Text: "more work", Body: &pushwire.RegisterReply{Limits: limits}}},
		"silence":  {silence: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startScripted(t)
			s.answer = func(req pushwire.Request, _ *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
				if len(s.requests) == 1 {
					return refusal.reply, nil, !refusal.silence
				}
				return accepted(1), nil, true
			}
			d := s.open(t, nil)
			require.NoError(t, d.Register(t.Context(), route()))
			requests := s.seen()
			require.Len(t, requests, 2)
			require.NotEqual(t, requests[0].ID, requests[1].ID, "an ID is used once")
			require.Equal(t, requests[0].Body, requests[1].Body, "the change is the same")
			switch name {
			case "clock":
				require.InDelta(t, float64(time.Now().Add(ahead).UnixMilli()), float64(requests[1].Issued), 60_000)
			case "work":
				require.Equal(t, limits.PoW, d.known.pow)
			}
		})
	}
}

// A server that holds a later version was told it by another device with the same keys: the
// account is left to that one.
func TestStaleRegisterBeginsAnew(t *testing.T) {
	s := startScripted(t)
	held := uint64(time.Now().Add(time.Hour).UnixMilli())
	var accounts []*ecdsa.PublicKey
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if accounts = append(accounts, from); len(accounts) == 1 {
			return pushwire.Reply{Code: pushwire.Stale, Text: "stale", Body: &pushwire.RegisterReply{Version: held}}, nil, true
		}
		return accepted(req.Body.(*pushwire.Register).Version), nil, true
	}
	d := s.open(t, nil)
	require.NoError(t, d.Register(t.Context(), route()))
	require.Len(t, accounts, 2)
	require.False(t, accounts[0].Equal(accounts[1]))
	first, second := s.seen()[0].Body.(*pushwire.Register), s.seen()[1].Body.(*pushwire.Register)
	require.NotEqual(t, first.SealKey, second.SealKey)
	require.Less(t, second.Version, held)

	s.answer = func(req pushwire.Request, _ *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return pushwire.Reply{Code: pushwire.Stale, Text: "stale", Body: &pushwire.RegisterReply{Version: held}}, nil, true
	}
	require.True(t, IsRefused(d.Register(t.Context(), route()), pushwire.Stale), "a server that lies is not asked for ever")
}

// Two devices of one person that chose no group have nothing in common that the server sees
// but the topics.
func TestDevicesAreUnlinkable(t *testing.T) {
	s := startScripted(t)
	accounts := map[string]bool{}
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		accounts[string(crypto.CompressPubkey(from))] = true
		return accepted(req.Body.(*pushwire.Register).Version), nil, true
	}
	for range 2 {
		require.NoError(t, s.open(t, nil).Register(t.Context(), route()))
	}
	require.Len(t, accounts, 2)
	first, second := s.seen()[0].Body.(*pushwire.Register), s.seen()[1].Body.(*pushwire.Register)
	require.NotEqual(t, first.SealKey, second.SealKey)
	require.NotEqual(t, first.Chain, second.Chain)
	require.Empty(t, first.Group)
	require.Empty(t, second.Group)
	require.Zero(t, first.Preferences)
	require.Zero(t, second.Preferences)
	require.Equal(t, first.Channels, second.Channels)
}

func TestRefusalReachesTheApp(t *testing.T) {
	s := startScripted(t)
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return pushwire.Reply{Code: pushwire.UnknownProvider, Text: "there is no provider fcm"}, nil, true
	}
	d := s.open(t, nil)
	err := d.Register(t.Context(), route())
	require.True(t, IsRefused(err, pushwire.UnknownProvider))
	require.ErrorContains(t, err, "there is no provider fcm")
	require.Len(t, s.seen(), 1, "what cannot succeed is not repeated")
}

// A server that says that the request was made for another is believed at once: the app
// is told which refusal it is, whatever it asked, and nobody is asked again.
func TestWrongServerReachesTheApp(t *testing.T) {
	s := startScripted(t)
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return pushwire.Reply{Code: pushwire.WrongServer, Text: "the request names another server"}, nil, true
	}
	d := s.open(t, nil)
	for i, ask := range []func() error{
		func() error { return d.Register(t.Context(), route()) },
		func() error { _, err := d.Status(t.Context()); return err },
		func() error { _, err := d.Fetch(t.Context(), make([]common.Hash, 1)); return err },
		func() error { return d.Unregister(t.Context()) },
	} {
		err := ask()
		require.True(t, IsRefused(err, pushwire.WrongServer), "%v", err)
		var refused *pushwire.RefusalError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "the request names another server", refused.Text)
		requests := s.seen()
		require.Len(t, requests, i+1, "what cannot succeed is not repeated")
		require.Equal(t, crypto.CompressPubkey(&s.key.PublicKey), requests[i].Server, "the SDK names whom it asks")
	}
}

func TestForgedReplyIsIgnored(t *testing.T) {
	s := startScripted(t)
	forger := newTestKey(t)
	honest := s.key
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		reply := accepted(1)
		reply.ID = req.ID
		forged, err := pushwire.SealReply(context.Background(), reply, forger, from)
		require.NoError(t, err)
		return pushwire.Reply{Code: pushwire.Limit, Text: "the honest reply"}, []*whisper.Envelope{forged}, true
	}
	require.Equal(t, honest, s.key)
	d := s.open(t, nil)
	require.True(t, IsRefused(d.Register(t.Context(), route()), pushwire.Limit))
}

func TestSetChatsTellsTheDifference(t *testing.T) {
	s := startScripted(t)
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return accepted(1), nil, true
	}
	d := s.open(t, nil)
	work := Chat{Name: "work", Topic: whisper.TopicFor("work"), Key: make([]byte, 32)}
	require.NoError(t, d.SetChats(t.Context(), []Chat{family(), work}))
	require.Equal(t, []pushwire.Channel{{Topic: work.Topic}}, s.seen()[0].Body.(*pushwire.Channels).Channels)

	quiet := work
	quiet.Mode = pushwire.Muted
	require.NoError(t, d.SetChats(t.Context(), []Chat{quiet}))
	require.ElementsMatch(t, []pushwire.Channel{{Topic: work.Topic, Mode: pushwire.Muted}, {Topic: family().Topic, Mode: pushwire.Removed}},
		s.seen()[1].Body.(*pushwire.Channels).Channels)
	require.NoError(t, d.SetChats(t.Context(), []Chat{quiet}))
	require.Len(t, s.seen(), 2, "nothing to tell")
}

func TestDismiss(t *testing.T) {
	s := startScripted(t)
	e := letter(t, "read elsewhere", 0)
	s.answer = func(req pushwire.Request, _ *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return pushwire.Reply{State: pushwire.Active, Body: &pushwire.FetchReply{Sent: req.Body.(*pushwire.Fetch).Hashes}}, []*whisper.Envelope{e}, true
	}
	d := s.open(t, nil)
	dismiss, err := pushwire.SealPayload(pushwire.Payload{Kind: pushwire.Dismiss, Seq: 1, Hashes: []common.Hash{e.Hash()}}, d.state.SealPublicKey)
	require.NoError(t, err)
	event, err := d.Receive(t.Context(), dismiss)
	require.NoError(t, err)
	require.Equal(t, []common.Hash{e.Hash()}, event.Dismissed)
	event, err = d.Fetch(t.Context(), []common.Hash{e.Hash()})
	require.NoError(t, err)
	require.Empty(t, event.Previews, "what was read elsewhere does not ring here any more")
}

func TestReceiveRefusesGarbage(t *testing.T) {
	s := startScripted(t)
	d := s.open(t, nil)
	for _, body := range []string{"", "{}", "null", `{"v":2,"p":"!"}`, `{"v":9,"p":""}`} {
		_, err := d.Receive(t.Context(), []byte(body))
		require.Error(t, err, body)
	}
	require.Empty(t, s.seen())
	require.NoError(t, d.Close())
	_, err := d.Status(t.Context())
	require.ErrorIs(t, err, ErrClosed)
}

func TestOpenRefuses(t *testing.T) {
	good := Config{
		Server:  "enode://" + "95e92cf0652f075c08d6e9a7b7a0418bef6311b67c4491eab00c0c06bb0e2def1de3254acb2d306c94394f92a94f3111e5cf9faa805471d44cd6805a4d49ae19@127.0.0.1:1",
		PushKey: "0495e92cf0652f075c08d6e9a7b7a0418bef6311b67c4491eab00c0c06bb0e2def1de3254acb2d306c94394f92a94f3111e5cf9faa805471d44cd6805a4d49ae19",
	}
	_, err := Open(t.Context(), good)
	require.NoError(t, err)
	for name, change := range map[string]func(*Config){
		"no server":        func(c *Config) { c.Server = "" },
		"no enode":         func(c *Config) { c.Server = "http://example.org" },
		"no push key":      func(c *Config) { c.PushKey = "" },
		"half a key":       func(c *Config) { c.PushKey = c.PushKey[:20] },
		"chat without key": func(c *Config) { c.Chats = []Chat{{Name: "x"}} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			_, err := Open(t.Context(), cfg)
			require.Error(t, err)
		})
	}
}

// Who watches the encrypted link sees sizes: a registration has that of a
// question for mail, of a status, and of a fetch.
func TestLinkObserver(t *testing.T) {
	s := startScripted(t)
	s.answer = func(req pushwire.Request, _ *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if fetch, ok := req.Body.(*pushwire.Fetch); ok {
			return pushwire.Reply{Body: &pushwire.FetchReply{Missing: fetch.Hashes}}, nil, true
		}
		return accepted(1), nil, true
	}
	d := s.open(t, nil)
	require.NoError(t, d.Register(t.Context(), route()))
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	_, err = d.Fetch(t.Context(), make([]common.Hash, 20))
	require.NoError(t, err)
	require.NoError(t, d.Unregister(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	s.mail = cancel // nobody answers; the question is enough
	_, err = d.History(ctx)
	require.ErrorIs(t, err, context.Canceled)

	// Nor does the mailserver's password show.
	d = s.open(t, nil)
	d.mailKey = func() []byte { return make([]byte, whisper.SymmetricKeySize) }
	d.known.clock = true
	ctx, s.mail = context.WithCancel(t.Context())
	_, err = d.History(ctx)
	require.ErrorIs(t, err, context.Canceled)

	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.sizes, 6)
	for _, size := range s.sizes {
		require.Equal(t, s.sizes[0], size)
	}
}

func TestPrintable(t *testing.T) {
	for _, c := range [][2]string{
		{"hello", "hello"},
		{"two\nlines\tand a tab", "two lines and a tab"},
		{"bell\a and \x1b[31mcolour", "bell and [31mcolour"},
		{"\u202eright to left", "right to left"},
		{"broken \xff\xfe", "broken �"},
	} {
		require.Equal(t, c[1], Printable([]byte(c[0])))
	}
	long := Printable(make300())
	require.Len(t, []rune(long), PreviewLength+1)
}

func make300() []byte {
	b := make([]byte, 0, 600)
	for range 300 {
		b = append(b, "é"...)
	}
	return b
}

func newTestKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return key
}
