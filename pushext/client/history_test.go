package client

import (
	"crypto/ecdsa"
	"encoding/json"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// setSince moves the first start of a device in its store, as a clock that was wrong
// would have.
func setSince(t *testing.T, store Store, at time.Time) {
	t.Helper()
	text, err := store.Load(t.Context())
	require.NoError(t, err)
	var all struct {
		Format   int                       `json:"format"`
		Accounts map[string]map[string]any `json:"accounts"`
	}
	require.NoError(t, json.Unmarshal(text, &all))
	for _, account := range all.Accounts {
		account["since"] = at.Unix()
	}
	text, err = json.Marshal(all)
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), text))
}

// A first history begins by the server's clock: a phone that is ahead or behind misses
// nothing, and does not ask for years.
func TestFirstHistoryByTheServersClock(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration // the phone's clock at its first start, before the server's
		set   bool          // it has been set since
		told  bool          // the server tells its time
	}{
		"right":                   {told: true},
		"a day ahead":             {ahead: 24 * time.Hour, told: true},
		"a day ahead, and set":    {ahead: 24 * time.Hour, set: true, told: true},
		"a day behind":            {ahead: -24 * time.Hour, told: true},
		"of the year it was made": {ahead: -50 * 365 * 24 * time.Hour, set: true, told: true},
		"older server":            {ahead: 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t)
			// Our clock stands for the phone's, the server's is off by the difference.
			serverNow := time.Now()
			if !c.set {
				serverNow = serverNow.Add(-c.ahead)
			}
			asked := 0
			s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
				if _, ok := req.Body.(*pushwire.Status); !ok {
					return s.gives(req, from)
				}
				asked++
				if off := serverNow.Sub(time.UnixMilli(int64(req.Issued))); off.Abs() > 5*time.Minute {
					return pushwire.Reply{Code: pushwire.Clock, Text: "clock", Body: &pushwire.ClockReply{Now: uint64(serverNow.UnixMilli())}}, nil, true
				}
				body := new(pushwire.StatusReply)
				if c.told {
					body.Now = uint64(serverNow.UnixMilli())
				}
				return pushwire.Reply{Code: pushwire.NotRegistered, Text: "no", Body: body}, nil, true
			}
			sent := func(age time.Duration) *whisper.Envelope {
				e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("hello"), Topic: family().Topic, Key: family().Key, Now: serverNow.Add(-age)})
				require.NoError(t, err)
				return e
			}
			s.log = []*whisper.Envelope{sent(8 * 24 * time.Hour), sent(time.Minute)}
			store := new(MemoryStore)
			require.NoError(t, s.open(t, store).Close())
			at := time.Now()
			if c.set {
				at = at.Add(c.ahead)
			}
			setSince(t, store, at)
			d := s.open(t, store)
			event, err := d.History(t.Context())
			require.NoError(t, err)
			require.Equal(t, []common.Hash{s.log[1].Hash()}, event.Hashes())
			require.LessOrEqual(t, asked, 2)
			require.NotZero(t, d.state.Begin)

			begin := d.state.Begin
			d = s.open(t, store)
			d.state.Cursor = nil
			_, err = d.History(t.Context())
			require.NoError(t, err)
			require.Equal(t, begin, d.state.Begin, "it is decided once")
		})
	}
}

// Requests of mail are made by the server's clock once it is known, and small.
func TestHistoryRequests(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	s.id = mailwire.LogID{1}
	s.log = []*whisper.Envelope{letter(t, "one", 0)}
	d := s.open(t, nil)
	_, err := d.History(t.Context())
	require.NoError(t, err)
	_, err = d.History(t.Context())
	require.NoError(t, err)
	require.Len(t, s.mails, 2)
	for _, mail := range s.mails {
		require.EqualValues(t, historyPage, mail.Limit)
		require.Equal(t, []whisper.Topic{family().Topic}, mail.Topics)
	}
	require.NotZero(t, s.mails[0].Lower)
	require.Equal(t, mailwire.Cursor{Seq: 1, Ascending: true, Log: mailwire.LogID{1}}, s.mails[1].Cursor)
	require.Zero(t, s.mails[1].Lower, "whatever time it claims to be from")
}

// A server that was installed again has another log: the history begins again as well,
// and no earlier than the device.
func TestHistoryOfAnotherLog(t *testing.T) {
	s := startScripted(t)
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if _, ok := req.Body.(*pushwire.Status); ok {
			return pushwire.Reply{State: pushwire.Active, Body: &pushwire.StatusReply{
				Standing: pushwire.Standing{Now: uint64(time.Now().UnixMilli()), Log: s.id[:]}}}, nil, true
		}
		return s.gives(req, from)
	}
	s.id = mailwire.LogID{1}
	s.log = []*whisper.Envelope{letter(t, "one", 0), letter(t, "two", 0)}
	store := new(MemoryStore)
	d := s.open(t, store)
	event, err := d.History(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))

	before, three := letter(t, "before", time.Hour), letter(t, "three", 0)
	s.change(func() {
		s.id = mailwire.LogID{2}
		s.log = append([]*whisper.Envelope{before, three}, s.log...)
	})
	d = s.open(t, store)
	_, err = d.Status(t.Context())
	require.NoError(t, err)
	event, err = d.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"three"}, texts(event))
	require.NotZero(t, s.mails[len(s.mails)-1].Lower)
}

// What a history delivered, the server is told in one request, and sends none of it
// again; an older server cannot be told.
func TestHistoryIsAReceipt(t *testing.T) {
	for name, now := range map[string]uint64{"server": uint64(time.Now().UnixMilli()), "older server": 0} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t)
			s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
				if register, ok := req.Body.(*pushwire.Register); ok {
					reply := accepted(register.Version)
					reply.Body.(*pushwire.RegisterReply).Now = now
					return reply, nil, true
				}
				return s.gives(req, from)
			}
			s.log = []*whisper.Envelope{}
			for range pushwire.MaxHashes + 3 {
				s.log = append(s.log, letter(t, "hello", 0))
			}
			d := s.open(t, nil)
			require.NoError(t, d.Register(t.Context(), route()))
			p := pushwire.Payload{Kind: pushwire.Messages, Seq: 1, More: true}
			for i := range pushwire.MaxHashes {
				p.Hashes = append(p.Hashes, s.log[len(s.log)-1-i].Hash())
			}
			body, err := pushwire.SealPayload(p, d.state.SealPublicKey)
			require.NoError(t, err)
			event, err := d.Receive(t.Context(), body)
			require.NoError(t, err)
			require.Len(t, event.Previews, len(s.log))
			var fetched, received []common.Hash
			for _, req := range s.seen() {
				if fetch, ok := req.Body.(*pushwire.Fetch); ok {
					fetched, received = append(fetched, fetch.Hashes...), append(received, fetch.Received...)
				}
			}
			if now == 0 {
				require.Equal(t, p.Hashes, fetched, "only fetching is a receipt")
				require.Empty(t, received)
				return
			}
			require.Empty(t, fetched, "nothing is sent twice")
			require.ElementsMatch(t, event.Hashes(), received)

			_, err = d.History(t.Context())
			require.NoError(t, err)
			require.Len(t, s.seen(), 2, "nothing new, nothing to tell")
		})
	}
}
