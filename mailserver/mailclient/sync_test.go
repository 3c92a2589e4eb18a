package mailclient

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

var _ whisper.SyncHandler = (*Client)(nil)

// syncRequest is a packet 123 as status-go reads it.
type syncRequest struct {
	Lower, Upper uint32
	Bloom        []byte
	Limit        uint32
	Cursor       []byte
}

// syncScript is a mailserver of status-go that answers each request with the next of its lines.
type syncScript struct {
	script
	t     *testing.T
	lines []func(r syncRequest, say func(cursor string, final bool, text string, envs ...*whisper.Envelope))
}

func (s *syncScript) SendSyncRequest(_ context.Context, peer enode.ID, payload rlp.RawValue) error {
	var r syncRequest
	require.NoError(s.t, rlp.DecodeBytes(payload, &r))
	require.Len(s.t, r.Bloom, whisper.BloomSize)
	require.NotEmpty(s.t, s.lines, "asked more often than expected")
	line := s.lines[0]
	s.lines = s.lines[1:]
	s.playing.Go(func() {
		line(r, func(cursor string, final bool, text string, envs ...*whisper.Envelope) {
			list := []rlp.RawValue{}
			for _, e := range envs {
				list = append(list, e.Raw())
			}
			b, err := rlp.EncodeToBytes([]any{list, []byte(cursor), final, text})
			require.NoError(s.t, err)
			s.client.HandleSyncResponse(peer, b)
		})
	})
	return nil
}

type syncLines = []func(syncRequest, func(string, bool, string, ...*whisper.Envelope))

// runSync syncs from a mailserver with the lines, and returns the pages.
func runSync(t *testing.T, cfg Config, r mailwire.SyncRequest, lines syncLines) (pages []Page, err error) {
	synctest.Test(t, func(t *testing.T) {
		c := New(cfg)
		s := &syncScript{t: t, lines: lines}
		s.client = c
		c.Attach(s)
		err = c.Sync(t.Context(), server.ID, r, func(p Page) error {
			pages = append(pages, p)
			return nil
		})
		s.playing.Wait()
		require.Empty(t, s.lines)
		require.Empty(t, c.syncs)
		require.Empty(t, c.turns)
	})
	return pages, err
}

func TestSync(t *testing.T) {
	one, two, three := envelope(t, 10, whisper.Topic{1}), envelope(t, 20, whisper.Topic{2}), envelope(t, 30, whisper.Topic{3})
	early, late := envelope(t, 9, whisper.Topic{1}), envelope(t, 31, whisper.Topic{1})
	pages, err := runSync(t, Config{}, mailwire.SyncRequest{Lower: 10, Upper: 30, Limit: 2}, syncLines{
		func(r syncRequest, say func(string, bool, string, ...*whisper.Envelope)) {
			require.Equal(t, []any{uint32(10), uint32(30), uint32(2), ""}, []any{r.Lower, r.Upper, r.Limit, string(r.Cursor)})
			say("", false, "", three, late)
			say("", false, "", three, early, two)
			say("second", true, "")
			say("of before", true, "", one) // nobody waits for it
		},
		func(r syncRequest, say func(string, bool, string, ...*whisper.Envelope)) {
			require.Equal(t, "second", string(r.Cursor))
			say("", true, "", one)
		},
	})
	require.NoError(t, err)
	require.Equal(t, []Page{
		{Envelopes: []*whisper.Envelope{three, two}, Ignored: 3, Cursor: []byte("second")},
		{Envelopes: []*whisper.Envelope{one}, Cursor: []byte{}},
	}, pages)
}

// What does not come in time is asked for again from the same place; a peer that only repeats itself gains no time by it.
func TestSyncAsksAgain(t *testing.T) {
	one := envelope(t, 10, whisper.Topic{1})
	var begun time.Time
	pages, err := runSync(t, Config{Timeout: time.Minute}, mailwire.SyncRequest{Upper: math.MaxUint32, Limit: 10}, syncLines{
		func(r syncRequest, say func(string, bool, string, ...*whisper.Envelope)) {
			begun = time.Now()
			for range 4 {
				say("", false, "", one)
				time.Sleep(29 * time.Second)
			}
		},
		func(r syncRequest, say func(string, bool, string, ...*whisper.Envelope)) {
			require.Less(t, time.Since(begun), 2*time.Minute)
			require.Empty(t, r.Cursor)
			say("", true, "", one)
		},
	})
	require.NoError(t, err)
	require.Len(t, pages, 1)
	require.Len(t, pages[0].Envelopes, 1)
}

func TestSyncEndsInWords(t *testing.T) {
	one, two := envelope(t, 10, whisper.Topic{1}), envelope(t, 20, whisper.Topic{2})
	say := func(cursor string, final bool, text string, envs ...*whisper.Envelope) func(syncRequest, func(string, bool, string, ...*whisper.Envelope)) {
		return func(_ syncRequest, say func(string, bool, string, ...*whisper.Envelope)) {
			say(cursor, final, text, envs...)
		}
	}
	all := mailwire.SyncRequest{Upper: math.MaxUint32, Limit: 1}
	_, err := runSync(t, Config{}, all, syncLines{say("", false, "rate limit", one)})
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.EqualValues(t, "rate limit", refused.Refusal)
	_, err = runSync(t, Config{}, all, syncLines{say("", false, "", one, two)})
	require.ErrorIs(t, err, ErrTooMuch)
	_, err = runSync(t, Config{MaxBytes: 100}, all, syncLines{say("", true, "", one)})
	require.ErrorIs(t, err, ErrTooMuch)
	pages, err := runSync(t, Config{}, all, syncLines{say("here", true, "", one), say("here", true, "", two)})
	require.ErrorIs(t, err, ErrNoProgress)
	require.Len(t, pages, 2)
	_, err = runSync(t, Config{Retries: 1, Timeout: time.Second}, all, syncLines{say("", false, ""), say("", false, "")})
	require.ErrorIs(t, err, ErrTimeout)
	_, err = runSync(t, Config{}, mailwire.SyncRequest{Upper: 1}, nil)
	require.ErrorIs(t, err, mailwire.ErrMalformed)

	c := New(Config{})
	c.HandleSyncResponse(server.ID, []byte("whatever"))
	require.EqualValues(t, 1, c.Ignored(), "nobody asked")
	var playing sync.WaitGroup
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{})
		c.Attach(garbled{c, &playing})
		require.ErrorIs(t, c.Sync(t.Context(), server.ID, all, nil), mailwire.ErrMalformed)
		playing.Wait()
	})
}

// garbled answers with what is no answer.
type garbled struct {
	c       *Client
	playing *sync.WaitGroup
}

func (g garbled) SendRequest(context.Context, enode.ID, *whisper.Envelope) error { return nil }

func (g garbled) SendSyncRequest(_ context.Context, peer enode.ID, _ rlp.RawValue) error {
	g.playing.Go(func() { g.c.HandleSyncResponse(peer, []byte("garbled")) })
	return nil
}
