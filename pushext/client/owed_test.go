package client

import (
	"crypto/ecdsa"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// owing answers as gives does, and names dismissals in every reply to a Fetch that asks.
func (s *scripted) owing(dismissed ...common.Hash) func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
	return func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		reply, found, ok := s.gives(req, from)
		if fetch, is := req.Body.(*pushwire.Fetch); is && fetch.Owed != nil {
			reply.Body.(*pushwire.FetchReply).Owed = &pushwire.Owed{Dismissed: dismissed}
		}
		return reply, found, ok
	}
}

// lastOwed is what the device said of dismissals in its newest request, a Fetch.
func (s *scripted) lastOwed(t *testing.T) []common.Hash {
	all := s.seen()
	require.NotEmpty(t, all)
	fetch, ok := all[len(all)-1].Body.(*pushwire.Fetch)
	require.True(t, ok)
	require.NotNil(t, fetch.Owed)
	return fetch.Owed.Dismissed
}

// A dismissal whose push was lost comes with the reply to a Fetch. The device says with the
// next that it came, also in another run, and then no more.
func TestDismissedByAReply(t *testing.T) {
	s := startScripted(t)
	read, other := letter(t, "read elsewhere", 0), letter(t, "news", 0)
	s.log = []*whisper.Envelope{read, other}
	s.answer = s.owing(read.Hash())
	store := new(MemoryStore)
	d := s.open(t, store)
	event, err := d.Receive(t.Context(), d.push(t, 1, read, other))
	require.NoError(t, err)
	require.Equal(t, []common.Hash{read.Hash()}, event.Dismissed)
	require.Equal(t, []string{"news"}, texts(event), "what came with its own dismissal is not shown")
	require.Empty(t, s.lastOwed(t))

	d = s.open(t, store)
	s.change(func() { s.answer = s.owing() })
	event, err = d.Fetch(t.Context(), []common.Hash{read.Hash()})
	require.NoError(t, err)
	require.Equal(t, []common.Hash{read.Hash()}, s.lastOwed(t))
	require.Empty(t, event.Dismissed)
	require.Equal(t, []string{"news"}, texts(event), "it waits for Shown still")
	_, err = d.Fetch(t.Context(), []common.Hash{read.Hash()})
	require.NoError(t, err)
	require.Empty(t, s.lastOwed(t))

	// A push says so as well, and is acknowledged in the same way.
	body, err := pushwire.SealPayload(pushwire.Payload{Kind: pushwire.Dismiss, Hashes: []common.Hash{other.Hash()}}, d.state.SealPublicKey)
	require.NoError(t, err)
	_, err = d.Receive(t.Context(), body)
	require.NoError(t, err)
	_, err = d.Fetch(t.Context(), []common.Hash{read.Hash()})
	require.NoError(t, err)
	require.Equal(t, []common.Hash{other.Hash()}, s.lastOwed(t))
}

// A complete device hands over what was read elsewhere as read.
func TestCompleteDismissedByAReply(t *testing.T) {
	s := startScripted(t)
	read := letter(t, "read elsewhere", 0)
	s.log = []*whisper.Envelope{read}
	s.answer = s.owing(read.Hash())
	d, err := Open(t.Context(), Config{Server: s.peer.Enode.URLv4(), PushKey: hexutil.Encode(crypto.CompressPubkey(&s.key.PublicKey)), Chats: []Chat{family()}, Complete: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	event, err := d.Receive(t.Context(), d.push(t, 1, read))
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.True(t, event.Previews[0].Read)
	require.Equal(t, []common.Hash{read.Hash()}, event.Dismissed)
	require.Equal(t, []common.Hash{read.Hash()}, d.ReadElsewhere(read.Hash()))
}

// The history of a device of several asks for dismissals that were lost, though nothing came.
func TestHistoryAsksForDismissals(t *testing.T) {
	s := startScripted(t)
	s.log, s.id = []*whisper.Envelope{}, mailwire.LogID{1}
	lost := common.Hash{7}
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if _, ok := req.Body.(*pushwire.Fetch); ok {
			return s.owing(lost)(req, from)
		}
		return pushwire.Reply{State: pushwire.Active, Body: &pushwire.RegisterReply{Version: 1, Standing: pushwire.Standing{Now: uint64(1)}}}, nil, true
	}
	d := s.open(t, nil)
	require.NoError(t, d.Register(t.Context(), route()))
	_, err := d.History(t.Context())
	require.NoError(t, err)
	require.Len(t, s.seen(), 1, "a device alone has nothing to ask")
	grouped := route()
	grouped.Group = NewGroup()
	require.NoError(t, d.Register(t.Context(), grouped))
	event, err := d.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, []common.Hash{lost}, event.Dismissed)
}

// Two processes that share a store acknowledge every dismissal once.
func TestMergeDismissed(t *testing.T) {
	base := &state{Dismissed: []common.Hash{{1}, {2}}}
	ours := &state{Dismissed: []common.Hash{{1}, {3}}}        // told of 2, and 3 came
	theirs := &state{Dismissed: []common.Hash{{2}, {4}, {3}}} // told of 1, and 3 and 4 came
	require.NoError(t, ours.merge(base, theirs))
	require.ElementsMatch(t, []common.Hash{{3}, {4}}, ours.Dismissed)
}
