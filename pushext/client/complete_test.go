package client

import (
	"crypto/ecdsa"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

func (s *scripted) openComplete(t *testing.T, store Store) *Device {
	t.Helper()
	d, err := Open(t.Context(), Config{
		Server: s.peer.Enode.URLv4(), PushKey: hexutil.Encode(crypto.CompressPubkey(&s.key.PublicKey)),
		Store: store, Chats: []Chat{family()}, Complete: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// A complete device hands over what no chat opens, until it is Shown, in this run and
// the next.
func TestCompleteHandsOverWhatItCannotOpen(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	strange := family()
	strange.Key = append([]byte{1}, strange.Key[1:]...)
	closed, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("secret"), Topic: strange.Topic, Key: strange.Key})
	require.NoError(t, err)
	open := letter(t, "open", time.Second)
	s.log = []*whisper.Envelope{open, closed}
	store := new(MemoryStore)
	d := s.openComplete(t, store)
	event, err := d.Receive(t.Context(), d.push(t, 1, closed, open))
	require.NoError(t, err)
	require.Equal(t, []string{"open"}, texts(event))
	require.Len(t, event.Unopened, 1)
	require.ElementsMatch(t, []common.Hash{open.Hash(), closed.Hash()}, event.Hashes())
	require.Nil(t, event.Unopened[0].Open(d.Chats()))
	require.Equal(t, "secret", event.Unopened[0].Open([]Chat{strange}).Text)

	again := s.openComplete(t, store) // after a crash
	event, err = again.History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Unopened, 1)
	require.NoError(t, again.Shown(t.Context(), event.Hashes()...))
	event, err = s.openComplete(t, store).History(t.Context())
	require.NoError(t, err)
	require.Empty(t, event.Hashes())
}

// What was read on another device comes all the same, and as read, also if it comes
// after the dismissal and after a restart.
func TestCompleteHandsOverWhatWasReadElsewhere(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	letter := letter(t, "read on the tablet", time.Second)
	s.log = []*whisper.Envelope{letter}
	store := new(MemoryStore)
	d := s.openComplete(t, store)
	dismiss, err := pushwire.SealPayload(pushwire.Payload{Kind: pushwire.Dismiss, Hashes: []common.Hash{letter.Hash()}}, d.state.SealPublicKey)
	require.NoError(t, err)
	event, err := d.Receive(t.Context(), dismiss)
	require.NoError(t, err)
	require.Equal(t, []common.Hash{letter.Hash()}, event.Dismissed)
	again := s.openComplete(t, store)
	require.Equal(t, []common.Hash{letter.Hash()}, again.ReadElsewhere(common.Hash{1}, letter.Hash()))
	event, err = again.History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.True(t, event.Previews[0].Read)
}

// A message that the app has and that comes in another envelope is named as a copy, so
// that the server can be told of that hash too.
func TestCompleteNamesCopies(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	first := letter(t, "once", time.Second)
	second, err := whisper.Renew(t.Context(), first, whisper.Draft{Now: time.Now()})
	require.NoError(t, err)
	s.log = []*whisper.Envelope{first, second}
	d := s.openComplete(t, nil)
	event, err := d.Receive(t.Context(), d.push(t, 1, first))
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.Empty(t, event.Copies)
	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
	event, err = d.Receive(t.Context(), d.push(t, 2, second))
	require.NoError(t, err)
	require.Empty(t, event.Previews)
	require.Contains(t, event.Copies, Copy{Hash: second.Hash(), Message: first.Message()})
}

// Post is done when the mailserver has the envelope, tells it first that the sender is
// not to be woken, and sends the same message again where it does not arrive.
func TestPost(t *testing.T) {
	s := startScripted(t)
	var arrived []common.Hash
	seen := make(map[pushwire.RequestKind]int)
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		seen[req.Body.Kind()]++
		if _, ok := req.Body.(*pushwire.Seen); ok {
			return pushwire.Reply{State: pushwire.None, Code: pushwire.NotRegistered, Text: "no"}, nil, true
		}
		return s.gives(req, from)
	}
	s.log, s.id = []*whisper.Envelope{}, mailwire.LogID{1}
	sub, err := s.peer.Node.Subscribe(whisper.Filter{Topics: []whisper.Topic{family().Topic}, Key: family().Key}, 16)
	require.NoError(t, err)
	t.Cleanup(sub.Close)
	go func() {
		for got := range sub.C() {
			s.change(func() {
				arrived = append(arrived, got.Envelope.Hash())
				if len(arrived) > 1 { // the first is lost
					s.log = append(s.log, got.Envelope)
				}
			})
		}
	}()
	d := s.open(t, nil)
	sealed := letter(t, "hello", time.Hour) // without work, and long expired
	hash, err := d.Post(t.Context(), sealed, false)
	require.NoError(t, err)
	s.change(func() {
		require.Len(t, arrived, 2)
		require.Equal(t, hash, s.log[0].Hash())
		require.Equal(t, sealed.Message(), s.log[0].Message())
		require.Equal(t, 2, seen[pushwire.KindSeen])
	})
	_, err = d.Post(t.Context(), sealed, true)
	require.NoError(t, err)
	s.change(func() { require.Equal(t, 1, seen[pushwire.KindFetch]) })
}
