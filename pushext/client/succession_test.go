package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// rotate gives the server another push key; it answers to the one before as well, and tells of
// the next in all replies.
func (s *scripted) rotate(t *testing.T) pushwire.Succession {
	t.Helper()
	next, err := crypto.GenerateKey()
	require.NoError(t, err)
	succession, err := pushwire.NewSuccession(s.key, next, 1_800_000_000, 1_801_209_600)
	require.NoError(t, err)
	s.change(func() {
		s.former, s.key = s.key, next
		answer := s.answer
		s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
			reply, envelopes, ok := answer(req, from)
			reply.Successions = []pushwire.Succession{succession}
			return reply, envelopes, ok
		}
	})
	return succession
}

// madeFor are the push keys that the requests were made for.
func (s *scripted) madeFor() (keys []hexutil.Bytes) {
	for _, req := range s.seen() {
		keys = append(keys, req.Server)
	}
	return keys
}

func (s *scripted) config(pushKey []byte, store Store) Config {
	return Config{Server: s.peer.Enode.URLv4(), PushKey: hexutil.Encode(pushKey), Store: store, Chats: []Chat{family()}}
}

func open(t *testing.T, cfg Config) *Device {
	t.Helper()
	d, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestDeviceGoesOnWithTheNextPushKey(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	store := new(MemoryStore)
	d := s.open(t, store)
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	account := d.state.RegistrationKey

	one := s.rotate(t)
	_, err = d.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(one.Next[:]), d.PushKey())
	_, err = d.Status(t.Context()) // over the same link
	require.NoError(t, err)
	require.Equal(t, []hexutil.Bytes{one.Former[:], one.Former[:], one.Next[:]}, s.madeFor())

	// It is in the store, under either key, and once.
	for name, pushKey := range map[string][]byte{"the former key": one.Former[:], "the next key": one.Next[:]} {
		t.Run("opened with "+name, func(t *testing.T) {
			again := open(t, s.config(pushKey, store))
			require.Equal(t, account, again.state.RegistrationKey)
			_, err := again.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, hexutil.Bytes(one.Next[:]), s.madeFor()[len(s.madeFor())-1])
			require.Len(t, again.state.Successions, 1)
		})
	}

	// The server does so once more; a device that was told neither follows both.
	two := s.rotate(t)
	_, err = d.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(two.Next[:]), d.PushKey())
	require.Len(t, d.state.Successions, 2)
	between := open(t, s.config(one.Next[:], store)) // the app was given that one meanwhile
	require.Equal(t, hex.EncodeToString(two.Next[:]), between.PushKey())
	require.Equal(t, account, between.state.RegistrationKey)
}

// What is asked with a key that is not answered to any more is asked again with the next.
func TestDeviceGoesOnAfterTheOverlap(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	d := s.open(t, new(MemoryStore))
	one := s.rotate(t)
	s.change(func() {
		answer := s.answer
		s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
			if bytes.Equal(req.Server, one.Former[:]) {
				return pushwire.Reply{Code: pushwire.Retired, Text: "the server has another push key", Successions: []pushwire.Succession{one}}, nil, true
			}
			return answer(req, from)
		}
	})
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, []hexutil.Bytes{one.Former[:], one.Next[:]}, s.madeFor())
}

// A key that others may know is followed by none: the app has to be given the next one.
func TestDeviceIsGivenThePushKeyAnew(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	store := new(MemoryStore)
	d := s.open(t, store)
	one := s.rotate(t)
	s.change(func() {
		s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
			if bytes.Equal(req.Server, one.Former[:]) {
				return pushwire.Reply{Code: pushwire.Retired, Text: "the server has another push key"}, nil, true
			}
			return s.gives(req, from)
		}
	})
	_, err := d.Status(t.Context())
	require.True(t, IsRefused(err, pushwire.Retired), "%v", err)
	require.False(t, passing(err), "asking again is of no use")
	require.Equal(t, hex.EncodeToString(one.Former[:]), d.PushKey())

	cfg := s.config(one.Next[:], store)
	cfg.FormerPushKeys = []string{hexutil.Encode(one.Former[:])}
	given := open(t, cfg)
	require.Equal(t, d.state.RegistrationKey, given.state.RegistrationKey)
	_, err = given.Status(t.Context())
	require.NoError(t, err)
	cfg.FormerPushKeys = nil
	require.Equal(t, d.state.RegistrationKey, open(t, cfg).state.RegistrationKey, "it is kept")
}

func TestForgedSuccessionIsNotFollowed(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	d := s.open(t, new(MemoryStore))
	thief, err := crypto.GenerateKey()
	require.NoError(t, err)
	one := s.rotate(t)
	byThief, err := pushwire.NewSuccession(s.former, thief, one.Begun, one.Until)
	require.NoError(t, err)
	for name, forge := range map[string]func(f *pushwire.Succession){
		"the former key has not signed":          func(f *pushwire.Succession) { f.Signature[0]++ },
		"the next key has not signed":            func(f *pushwire.Succession) { f.Consent[0]++ },
		"a key of another, who did not consent":  func(f *pushwire.Succession) { f.Next, f.Signature = byThief.Next, byThief.Signature },
		"of a key that the device does not have": func(f *pushwire.Succession) { f.Former = byThief.Next },
	} {
		t.Run(name, func(t *testing.T) {
			forged := one
			forge(&forged)
			s.change(func() {
				s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
					reply, envelopes, ok := s.gives(req, from)
					reply.Successions = []pushwire.Succession{forged}
					return reply, envelopes, ok
				}
			})
			_, err := d.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, hex.EncodeToString(one.Former[:]), d.PushKey())
			require.Empty(t, d.state.Successions)
		})
	}
}

// faultyStore fails to save while it is told to.
type faultyStore struct {
	MemoryStore
	fail atomic.Bool
}

var errNoRoom = errors.New("no space left on device")

func (s *faultyStore) Save(ctx context.Context, state []byte) error {
	if s.fail.Load() {
		return errNoRoom
	}
	return s.MemoryStore.Save(ctx, state)
}

// A device asks with the next key when it is in its store, and not before: a crash at any moment
// leaves it at one of the two.
func TestNextPushKeyIsKeptBeforeItIsUsed(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	store := new(faultyStore)
	d := s.open(t, store)
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	one := s.rotate(t)
	store.fail.Store(true)
	for range 2 {
		_, err = d.Status(t.Context())
		require.NoError(t, err, "it is served with the key that it has")
		require.Equal(t, hex.EncodeToString(one.Former[:]), d.PushKey())
	}
	require.Equal(t, []hexutil.Bytes{one.Former[:], one.Former[:], one.Former[:]}, s.madeFor())
	require.Equal(t, hex.EncodeToString(one.Former[:]), open(t, s.config(one.Former[:], store)).PushKey(), "a crash leaves it there")
	store.fail.Store(false)
	_, err = d.Status(t.Context())
	require.NoError(t, err)
	again := open(t, s.config(one.Former[:], store)) // a crash behind the save
	require.Equal(t, hex.EncodeToString(one.Next[:]), again.PushKey())
	require.Len(t, again.state.Successions, 1)
}

// An app and its extension have one account: what one of them is told, the other goes on with.
func TestProcessesGoOnTogether(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	store := new(MemoryStore)
	app, extension := s.open(t, store), s.open(t, store)
	_, err := app.Status(t.Context())
	require.NoError(t, err)
	one := s.rotate(t)
	_, err = extension.Status(t.Context())
	require.NoError(t, err)
	_, err = app.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, []hexutil.Bytes{one.Former[:], one.Former[:], one.Next[:]}, s.madeFor())
	require.Equal(t, app.state.Successions, extension.state.Successions)
	require.Len(t, app.state.Successions, 1)
}

// A challenge may have been sent before the device went on.
func TestChallengeOfTheFormerPushKey(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	d := s.open(t, new(MemoryStore))
	code := [pushwire.CodeSize]byte{1, 2, 3}
	sent := d.challenge(t, code[:])
	one := s.rotate(t)
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	body, err := pushwire.SealPayload(sent, d.state.SealPublicKey)
	require.NoError(t, err)
	_, err = d.Receive(t.Context(), body)
	require.NoError(t, err)
	requests := s.seen()
	confirm, ok := requests[len(requests)-1].Body.(*pushwire.Confirm)
	require.True(t, ok)
	account := d.binding(t).Account
	require.True(t, confirm.Proves(code, one.Former, account))
	require.False(t, confirm.Proves(code, one.Next, account), "the server that sent it knows it by the key that it named")
}
