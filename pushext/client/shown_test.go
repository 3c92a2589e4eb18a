package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// A push that fails half-way gives what came, and given again all of it.
func TestPartOfAPush(t *testing.T) {
	s := startScripted(t)
	first, second := letter(t, "first", 2*time.Second), letter(t, "second", time.Second)
	s.log = []*whisper.Envelope{first, second}
	n := 0
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		switch n++; n {
		case 1: // one fits, the other is for later
			return pushwire.Reply{State: pushwire.Active, Body: &pushwire.FetchReply{Sent: []common.Hash{first.Hash()}, Later: []common.Hash{second.Hash()}}}, []*whisper.Envelope{first}, true
		case 2: // the server's disk is full, the app's time is over, …
			return pushwire.Reply{Code: pushwire.Limit, Text: "no"}, nil, true
		}
		return s.gives(req, from)
	}
	d := s.open(t, nil)
	event, err := d.Receive(t.Context(), d.push(t, 1, second, first))
	require.True(t, IsRefused(err, pushwire.Limit))
	require.Equal(t, []string{"first"}, texts(event), "what came")
	event, err = d.Receive(t.Context(), d.push(t, 1, second, first))
	require.NoError(t, err)
	require.Equal(t, []string{"first", "second"}, texts(event))
}

// What the link broke for comes with the next push, though that does not name it.
func TestNextPushBringsWhatFailed(t *testing.T) {
	s := startScripted(t)
	s.log = []*whisper.Envelope{letter(t, "first", 2*time.Second), letter(t, "second", time.Second)}
	refuse := true
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if refuse {
			return pushwire.Reply{Code: pushwire.Limit, Text: "no"}, nil, true
		}
		return s.gives(req, from)
	}
	d := s.open(t, nil)
	_, err := d.Receive(t.Context(), d.push(t, 1, s.log[0]))
	require.Error(t, err)
	s.change(func() { refuse = false })
	event, err := d.Receive(t.Context(), d.push(t, 2, s.log[1]))
	require.NoError(t, err)
	require.Equal(t, []string{"first", "second"}, texts(event))
}

// A crash between fetching and showing shows the message after the next start, by
// whatever the app does first, and by each way it is asked for.
func TestCrashBeforeShown(t *testing.T) {
	again := map[string]func(*Device, *scripted) (Event, error){
		"history": func(d *Device, _ *scripted) (Event, error) { return d.History(t.Context()) },
		"push":    func(d *Device, s *scripted) (Event, error) { return d.Receive(t.Context(), d.push(t, 2, s.log[2])) },
		"fetch":   func(d *Device, _ *scripted) (Event, error) { return d.Fetch(t.Context(), nil) },
	}
	first := map[string]func(*Device, *scripted) (Event, error){
		"history": func(d *Device, _ *scripted) (Event, error) { return d.History(t.Context()) },
		"push":    func(d *Device, s *scripted) (Event, error) { return d.Receive(t.Context(), d.push(t, 1, s.log...)) },
		"fetch": func(d *Device, s *scripted) (Event, error) {
			return d.Fetch(t.Context(), []common.Hash{s.log[0].Hash(), s.log[1].Hash()})
		},
	}
	for one, begin := range first {
		for other, goOn := range again {
			t.Run(one+" then "+other, func(t *testing.T) {
				s := startScripted(t)
				s.answer = s.gives
				s.log = []*whisper.Envelope{letter(t, "first", 3*time.Second), letter(t, "second", 2*time.Second)}
				store := new(MemoryStore)
				d := s.open(t, store)
				event, err := begin(d, s)
				require.NoError(t, err)
				require.Equal(t, []string{"first", "second"}, texts(event))
				require.NoError(t, d.Shown(t.Context(), event.Previews[0].Hash))
				require.NoError(t, d.Close()) // and the app ends

				third := letter(t, "third", time.Second)
				s.change(func() { s.log = append(s.log, third) })
				d = s.open(t, store)
				event, err = goOn(d, s)
				require.NoError(t, err)
				require.Contains(t, texts(event), "second")
				require.NotContains(t, texts(event), "first")
				require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
				event, err = d.History(t.Context())
				require.NoError(t, err)
				require.NotContains(t, texts(event), "first")
				require.NotContains(t, texts(event), "second")
			})
		}
	}
}

// The receipt is not given before the device remembers what it is for.
func TestNothingIsFetchedThatCannotBeKept(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	s.log = []*whisper.Envelope{letter(t, "first", 0)}
	store := new(brokenStore)
	d := s.open(t, store)
	store.full = errors.New("no space left on device")
	_, err := d.Receive(t.Context(), d.push(t, 1, s.log[0]))
	require.ErrorIs(t, err, store.full)
	require.Empty(t, s.seen())
}

type brokenStore struct {
	MemoryStore
	full error
}

func (s *brokenStore) Save(ctx context.Context, text []byte) error {
	if s.full != nil {
		return s.full
	}
	return s.MemoryStore.Save(ctx, text)
}

// Left over from before is also what the server knows no registration for any more.
func TestLeftOverWithoutRegistration(t *testing.T) {
	s := startScripted(t)
	s.log = []*whisper.Envelope{letter(t, "first", 0), letter(t, "second", 0)}
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return pushwire.Reply{Code: pushwire.NotRegistered, Text: "no registration"}, nil, true
	}
	store := new(MemoryStore)
	event, err := s.open(t, store).History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Previews, 2)
	another := letter(t, "another", 0)
	s.change(func() { s.log[1] = another }) // the second is gone
	d := s.open(t, store)
	event, err = d.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"first"}, texts(event))
	require.Len(t, d.state.Waiting, 1)
}

func TestShownIsBounded(t *testing.T) {
	hash := func(i int) common.Hash { return common.Hash{byte(i), byte(i >> 8), byte(i >> 16), 1} }
	var m marks
	for i := range maxShown + 10 {
		require.True(t, m.add(markOf(hash(i))))
	}
	require.Len(t, m.list, maxShown)
	require.Len(t, m.set, maxShown)
	require.False(t, m.has(markOf(hash(9))), "the oldest are forgotten")
	require.False(t, m.add(markOf(hash(10))))

	text, err := m.MarshalText()
	require.NoError(t, err)
	require.Less(t, len(text), 180_000)
	var got marks
	require.NoError(t, got.UnmarshalText(text))
	require.Equal(t, m.list, got.list)
	require.Error(t, got.UnmarshalText([]byte("AAAA")), "not a multiple of eight")
	require.Error(t, got.UnmarshalText([]byte("!")))
}

// An app that never says what it has shown does not grow the state: what it was handed
// longest ago counts as shown.
func TestWaitingIsBounded(t *testing.T) {
	var s state
	given := make(map[common.Hash]bool)
	hash := func(i int) common.Hash { return common.Hash{byte(i), byte(i >> 8), 1} }
	for i := range maxWaiting {
		require.Empty(t, s.await([]common.Hash{hash(i)}, given))
	}
	more := []common.Hash{hash(maxWaiting)}
	require.Equal(t, more, s.await(more, given), "what the app was not handed does not give way")
	given[hash(5)] = true
	require.Empty(t, s.await(more, given))
	require.Len(t, s.Waiting, maxWaiting)
	require.Empty(t, given)
	require.True(t, s.Known.has(markOf(hash(5))))
	require.Equal(t, -1, s.Waiting.find(hash(5)))
}

// A history that is longer than what may wait comes in parts, and all of it.
func TestLongHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("makes and sends more than a thousand messages")
	}
	s := startScripted(t)
	s.answer = s.gives
	const n = maxWaiting + historyPage + 7
	for i := range n {
		s.log = append(s.log, letter(t, fmt.Sprint(i), 0))
	}
	store := new(MemoryStore)
	d := s.open(t, store)
	event, err := d.History(t.Context())
	require.NoError(t, err)
	require.True(t, event.More)
	require.Len(t, event.Previews, maxWaiting)

	// The app crashes, and has nothing: all of it comes again.
	d = s.open(t, store)
	event, err = d.History(t.Context())
	require.NoError(t, err)
	require.True(t, event.More)
	require.Len(t, event.Previews, maxWaiting)
	seen := make(map[string]bool)
	for parts := 0; ; parts++ {
		for _, text := range texts(event) {
			require.False(t, seen[text], "twice")
			seen[text] = true
		}
		require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
		if !event.More {
			require.Positive(t, parts)
			break
		}
		event, err = d.History(t.Context())
		require.NoError(t, err)
	}
	require.Len(t, seen, n)
}
