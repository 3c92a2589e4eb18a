package mailclient

import (
	"bytes"
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

var (
	_ whisper.DirectHandler = (*Client)(nil)
	_ Node                  = (*whisper.Node)(nil)

	server = Server{ID: enode.ID{1}, Key: bytes.Repeat([]byte{7}, whisper.SymmetricKeySize)}
)

// script is a mailserver that answers each request with the next of its lines.
type script struct {
	t        *testing.T
	client   *Client
	lines    []func(request)
	requests []mailwire.Request
	playing  sync.WaitGroup
}

// request is one that arrived.
type request struct {
	id    common.Hash
	reply func(envs ...*whisper.Envelope)
	end   func(mailwire.Complete)
}

func (s *script) SendRequest(ctx context.Context, peer enode.ID, env *whisper.Envelope) error {
	msg, err := env.OpenSymmetric(server.Key)
	require.NoError(s.t, err)
	require.NotNil(s.t, msg.Signer, "requests are signed")
	r, err := mailwire.DecodeRequest(msg.Payload)
	require.NoError(s.t, err)
	s.requests = append(s.requests, r)
	require.NotEmpty(s.t, s.lines, "asked more often than expected")
	line := s.lines[0]
	s.lines = s.lines[1:]
	arrived := request{
		id: env.Hash(),
		reply: func(envs ...*whisper.Envelope) {
			for _, e := range envs {
				s.client.HandleDirect(peer, e)
			}
		},
		end: func(c mailwire.Complete) {
			if c.ID == (common.Hash{}) {
				c.ID = env.Hash()
			}
			s.client.HandleRequestComplete(peer, c.Encode())
		},
	}
	s.playing.Go(func() { line(arrived) })
	return nil
}

// play runs f with a client of a mailserver that answers with the lines.
func play(t *testing.T, cfg Config, lines []func(request), f func(t *testing.T, c *Client, s *script)) {
	synctest.Test(t, func(t *testing.T) {
		c := New(cfg)
		s := &script{t: t, client: c, lines: lines}
		c.Attach(s)
		f(t, c, s)
		s.playing.Wait()
		synctest.Wait()
		require.Empty(t, c.open)
		require.Empty(t, c.turns)
	})
}

func lines(l ...func(request)) []func(request) { return l }

func envelope(t *testing.T, sent uint32, topic whisper.Topic) *whisper.Envelope {
	t.Helper()
	e, err := whisper.Seal(t.Context(), whisper.Draft{Key: server.Key, Topic: topic, Now: time.Unix(int64(sent), 0)})
	require.NoError(t, err)
	return e
}

func everything(form mailwire.Form) mailwire.Request {
	return mailwire.Request{Form: form, Upper: math.MaxUint32}
}

func TestAsk(t *testing.T) {
	one, two := envelope(t, 10, whisper.Topic{1}), envelope(t, 20, whisper.Topic{1})
	cursor := mailwire.Cursor{Seq: 4}
	play(t, Config{}, lines(func(r request) {
		r.reply(one, two)
		r.end(mailwire.Complete{Last: two.Hash(), Cursor: cursor})
	}), func(t *testing.T, c *Client, s *script) {
		a, err := c.Ask(t.Context(), server, everything(mailwire.List))
		require.NoError(t, err)
		require.Equal(t, Answer{Envelopes: []*whisper.Envelope{one, two}, Cursor: cursor, Marked: true}, a)
		require.True(t, a.More())
	})
}

// TestOnlyWhatWasAsked: a mailserver, or whoever took its place, cannot put
// envelopes into an answer that the request did not match (trap 8).
func TestOnlyWhatWasAsked(t *testing.T) {
	mine := envelope(t, 100, whisper.Topic{1, 0x40, 0x80})
	bloom := mine.Topic.Bloom()
	others := []*whisper.Envelope{
		envelope(t, 99, mine.Topic),  // before the range
		envelope(t, 201, mine.Topic), // after it
		envelope(t, 100, whisper.Topic{2, 0x40, 0x80}),
	}
	tests := []struct {
		name string
		r    mailwire.Request
	}{
		{"topics", mailwire.Request{Form: mailwire.List, Lower: 100, Upper: 200, Topics: []whisper.Topic{mine.Topic}}},
		{"bloom", mailwire.Request{Form: mailwire.Fixed, Lower: 100, Upper: 200, Bloom: &bloom}},
		{"hashes", Hashes(mine.Hash())},
		{"classic", mailwire.Request{Lower: 100, Upper: 200, Bloom: &bloom}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, Config{}, lines(func(r request) {
				r.end(mailwire.Complete{ID: common.Hash{1}, Refusal: "busy: not your request"})
				r.reply(others...)
				r.reply(mine, mine)
				if tt.r.Form.EndMark() {
					r.end(mailwire.Complete{Last: mine.Hash()})
				}
			}), func(t *testing.T, c *Client, s *script) {
				c.HandleDirect(server.ID, mine)
				c.HandleDirect(enode.ID{9}, mine)
				c.HandleRequestComplete(server.ID, nil)
				require.EqualValues(t, 3, c.Ignored(), "before a question")

				a, err := c.Ask(t.Context(), server, tt.r)
				require.NoError(t, err)
				require.Equal(t, []*whisper.Envelope{mine}, a.Envelopes)
				require.Equal(t, 4, a.Ignored)

				before := c.Ignored()
				c.HandleDirect(server.ID, mine)
				require.Equal(t, before+1, c.Ignored(), "after the answer")
			})
		})
	}
}

// TestLowerBoundByTheServersClock: in the order of the log the mailserver moves the
// bound of a client whose clock is ahead, and the client takes what comes of it.
func TestLowerBoundByTheServersClock(t *testing.T) {
	const day = 86400
	skewed, older := envelope(t, 2*day-day, whisper.Topic{1}), envelope(t, 2*day-day-1, whisper.Topic{1})
	r := everything(mailwire.List)
	r.Lower, r.Cursor = 2*day, mailwire.Since(0)
	play(t, Config{}, lines(func(q request) {
		q.reply(older, skewed)
		q.end(mailwire.Complete{Last: skewed.Hash()})
	}), func(t *testing.T, c *Client, s *script) {
		a, err := c.Ask(t.Context(), server, r)
		require.NoError(t, err)
		require.Equal(t, []*whisper.Envelope{skewed}, a.Envelopes)
		require.Equal(t, 1, a.Ignored)
	})
}

func TestRequestsByTheClockGiven(t *testing.T) {
	const at = 1_700_000_000
	c := New(Config{Now: func() time.Time { return time.Unix(at, 0) }})
	env, _, err := c.seal(t.Context(), server, everything(mailwire.List))
	require.NoError(t, err)
	require.EqualValues(t, at, env.Sent())
}

func TestAskFails(t *testing.T) {
	one, two := envelope(t, 10, whisper.Topic{}), envelope(t, 20, whisper.Topic{})
	tests := []struct {
		name string
		cfg  Config
		line func(request)
		form mailwire.Form
		want error
		have int
	}{
		{"silence", Config{}, func(request) {}, mailwire.List, ErrTimeout, 0},
		{"half an answer", Config{}, func(r request) { r.reply(one) }, mailwire.List, ErrTimeout, 1},
		{"not trusted", Config{}, func(r request) { r.end(mailwire.Complete{Last: one.Hash()}) }, mailwire.List, ErrIncomplete, 0},
		{"too many", Config{MaxRows: 1}, func(r request) { r.reply(one, two) }, mailwire.Classic, ErrTooMuch, 1},
		{"too large", Config{MaxBytes: len(one.Raw())}, func(r request) { r.reply(one, two) }, mailwire.List, ErrTooMuch, 1},
		{"classic silence", Config{}, func(request) {}, mailwire.Classic, nil, 0},
		{"classic", Config{}, func(r request) { r.reply(one); time.Sleep(DefaultQuiet - 1); r.reply(two) }, mailwire.Classic, nil, 2},
		{"noise is no sign of life", Config{}, func(r request) {
			r.reply(one)
			for range 100 {
				time.Sleep(time.Second)
				r.reply(one)
			}
		}, mailwire.List, ErrTimeout, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.cfg, lines(tt.line), func(t *testing.T, c *Client, s *script) {
				a, err := c.Ask(t.Context(), server, everything(tt.form))
				require.ErrorIs(t, err, tt.want)
				require.Len(t, a.Envelopes, tt.have)
			})
		})
	}

	t.Run("refused", func(t *testing.T) {
		play(t, Config{}, lines(func(r request) { r.end(mailwire.Complete{Refusal: "query range: \x1b no"}) }),
			func(t *testing.T, c *Client, s *script) {
				_, err := c.Ask(t.Context(), server, everything(mailwire.List))
				var refused *RefusedError
				require.ErrorAs(t, err, &refused)
				require.EqualValues(t, "query range: ? no", refused.Refusal)
			})
	})
	t.Run("given up", func(t *testing.T) {
		play(t, Config{}, lines(func(request) {}), func(t *testing.T, c *Client, s *script) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Ask(ctx, server, everything(mailwire.List))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	})
	t.Run("cannot be asked", func(t *testing.T) {
		c := New(Config{})
		_, err := c.Ask(t.Context(), server, everything(mailwire.List))
		require.ErrorContains(t, err, "no node")
		_, err = c.Ask(t.Context(), server, everything(mailwire.Plain))
		require.Error(t, err)
		_, err = c.Ask(t.Context(), Server{}, everything(mailwire.List))
		require.ErrorContains(t, err, "key")
		_, err = c.Ask(t.Context(), server, mailwire.Request{Limit: 1})
		require.ErrorContains(t, err, "limit")
	})
}

// TestTurns: envelopes have no request id, so there is one question at a time.
func TestTurns(t *testing.T) {
	one := envelope(t, 10, whisper.Topic{})
	answer := func(r request) {
		time.Sleep(time.Second)
		r.reply(one)
		r.end(mailwire.Complete{Last: one.Hash()})
	}
	play(t, Config{}, lines(answer, answer, answer), func(t *testing.T, c *Client, s *script) {
		start := time.Now()
		for range 3 {
			go func() {
				a, err := c.Ask(t.Context(), server, everything(mailwire.List))
				require.NoError(t, err)
				require.Len(t, a.Envelopes, 1)
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		time.Sleep(time.Microsecond)
		_, err := c.Ask(ctx, server, everything(mailwire.List))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(3*time.Second - time.Since(start))
		synctest.Wait()
		require.Empty(t, s.lines)
	})
}

func TestCollect(t *testing.T) {
	one, two, three := envelope(t, 10, whisper.Topic{}), envelope(t, 20, whisper.Topic{}), envelope(t, 5, whisper.Topic{})
	at := func(seq uint64, complete bool) mailwire.Cursor {
		return mailwire.Cursor{Ascending: true, Seq: seq, Complete: complete, Log: mailwire.LogID{1}}
	}
	play(t, Config{}, lines(
		func(r request) { r.end(mailwire.Complete{Refusal: mailwire.RefuseBusy(10*time.Second, "later")}) },
		func(r request) { r.reply(one, two) /* and silence */ },
		func(r request) { r.reply(one, two); r.end(mailwire.Complete{Last: two.Hash(), Cursor: at(2, false)}) },
		func(r request) { r.end(mailwire.Complete{Cursor: at(8, false)}) }, // nothing found, but there is more
		func(r request) { r.reply(three); r.end(mailwire.Complete{Last: three.Hash(), Cursor: at(9, true)}) },
		func(r request) { r.end(mailwire.Complete{Cursor: at(9, true)}) },
	), func(t *testing.T, c *Client, s *script) {
		start := time.Now()
		var got []*whisper.Envelope
		handle := func(envs []*whisper.Envelope) error { got = append(got, envs...); return nil }
		cursor, err := c.Collect(t.Context(), server, Since(mailwire.Cursor{}), handle)
		require.NoError(t, err)
		require.Equal(t, []*whisper.Envelope{one, two, three}, got)
		require.Equal(t, at(9, true), cursor)
		require.GreaterOrEqual(t, time.Since(start), 10*time.Second+DefaultTimeout)
		require.Less(t, time.Since(start), 10*time.Second+DefaultTimeout+6*time.Second)
		require.Equal(t, mailwire.Since(0), s.requests[2].Cursor)
		require.Equal(t, at(2, false), s.requests[3].Cursor)

		_, err = c.Collect(t.Context(), server, Since(cursor), handle)
		require.NoError(t, err)
		require.Equal(t, mailwire.Cursor{Ascending: true, Seq: 9, Log: mailwire.LogID{1}}, s.requests[5].Cursor)
	})
}

func TestCollectStops(t *testing.T) {
	one := envelope(t, 10, whisper.Topic{})
	page := func(r request) {
		r.reply(one)
		r.end(mailwire.Complete{Last: one.Hash(), Cursor: mailwire.Cursor{Seq: 5}})
	}
	silence := func(request) {}
	refuse := func(word string) func(request) {
		return func(r request) { r.end(mailwire.Complete{Refusal: mailwire.Refuse(word, "no")}) }
	}
	boom := errors.New("disk full")
	take := func([]*whisper.Envelope) error { return nil }
	tests := []struct {
		name   string
		lines  []func(request)
		handle func([]*whisper.Envelope) error
		want   error
		cursor mailwire.Cursor
	}{
		{"same cursor for ever", lines(page, page), take, ErrNoProgress, mailwire.Cursor{Seq: 5}},
		{"handler fails", lines(page), func([]*whisper.Envelope) error { return boom }, boom, mailwire.Cursor{}},
		{"silent for ever", lines(silence, silence, silence), take, ErrTimeout, mailwire.Cursor{}},
		{"busy for ever", lines(refuse("busy"), refuse("failed"), refuse("busy")), take, new(RefusedError), mailwire.Cursor{}},
		{"a request that makes no sense", lines(refuse("request")), take, new(RefusedError), mailwire.Cursor{}},
		{"a sentence only", lines(func(r request) { r.end(mailwire.Complete{Refusal: "no"}) }), take, new(RefusedError), mailwire.Cursor{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, Config{Retries: 2}, tt.lines, func(t *testing.T, c *Client, s *script) {
				cursor, err := c.Collect(t.Context(), server, everything(mailwire.List), tt.handle)
				var refused *RefusedError
				if errors.As(tt.want, &refused) {
					require.ErrorAs(t, err, &refused)
				} else {
					require.ErrorIs(t, err, tt.want)
				}
				require.Equal(t, tt.cursor, cursor)
				require.Empty(t, s.lines)
			})
		})
	}
}

func TestRetry(t *testing.T) {
	for failures := range 70 {
		wait, again := retry(ErrTimeout, failures)
		require.True(t, again)
		require.Positive(t, wait)
		require.LessOrEqual(t, wait, maxBackoff*3/2)
	}
}
