package client

import (
	"crypto/ecdsa"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// minedAgain is the message of an envelope in another one, which anybody can make.
func minedAgain(t *testing.T, e *whisper.Envelope, nonce uint64) *whisper.Envelope {
	t.Helper()
	raw, err := rlp.EncodeToBytes([]any{uint32(time.Now().Unix() + 50), uint32(50), e.Topic[:], e.Data, nonce})
	require.NoError(t, err)
	again, err := whisper.DecodeEnvelope(raw)
	require.NoError(t, err)
	require.NotEqual(t, e.Hash(), again.Hash())
	return again
}

// Who holds no key cannot have an old message shown again, however often they put it
// on the network under another time, hash and proof of work.
func TestAttackMessageMinedAgain(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	old := letter(t, "come at once", 72*time.Hour)
	s.log = []*whisper.Envelope{old, minedAgain(t, old, 1), minedAgain(t, old, 2), minedAgain(t, old, 3)}
	store := new(MemoryStore)
	d := s.open(t, store)
	event, err := d.Receive(t.Context(), d.push(t, 1, old))
	require.NoError(t, err)
	require.Equal(t, []string{"come at once"}, texts(event))
	require.Equal(t, old.Message(), event.Previews[0].Message)

	// While the app has not said that it has the message, it is the same one.
	event, err = d.Receive(t.Context(), d.push(t, 2, s.log[1]))
	require.NoError(t, err)
	require.Equal(t, []common.Hash{old.Hash()}, event.Hashes(), "the same notification is replaced")

	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
	event, err = d.Receive(t.Context(), d.push(t, 3, s.log[2]))
	require.NoError(t, err)
	require.Empty(t, event.Previews)
	event, err = s.open(t, store).History(t.Context())
	require.NoError(t, err)
	require.Empty(t, event.Previews, "nor after a restart, by another way")
}

// A message that was read on another device is not shown here when it is mined again.
func TestAttackReadMessageMinedAgain(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	read := letter(t, "read elsewhere", 0)
	s.log = []*whisper.Envelope{read, minedAgain(t, read, 1)}
	d := s.open(t, nil)
	dismiss, err := pushwire.SealPayload(pushwire.Payload{Kind: pushwire.Dismiss, Hashes: []common.Hash{read.Hash()}}, d.state.SealPublicKey)
	require.NoError(t, err)
	_, err = d.Receive(t.Context(), dismiss)
	require.NoError(t, err)
	event, err := d.History(t.Context())
	require.NoError(t, err)
	require.Empty(t, event.Previews)
}

// Two servers cannot find out from what they hold that a device is the same: each has an
// account of its own, also when an app only changes its settings, and each is there
// again when the app changes them back.
func TestAttackServersJoinTheirUsers(t *testing.T) {
	store := new(MemoryStore)
	accounts, seals := make(map[string]bool), make(map[string]bool)
	var servers []*scripted
	for range 2 {
		s := startScripted(t)
		s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
			accounts[hexutil.Encode(crypto.CompressPubkey(from))] = true
			if r, ok := req.Body.(*pushwire.Register); ok {
				seals[hexutil.Encode(r.SealKey)] = true
			}
			return accepted(1), nil, true
		}
		servers = append(servers, s)
	}
	for range 2 {
		for _, s := range servers {
			d := s.open(t, store)
			require.NoError(t, d.Register(t.Context(), route()))
			require.NoError(t, d.Close())
		}
	}
	require.Len(t, accounts, 2)
	require.Len(t, seals, 2)
}

// A server that names only what was not asked for is not asked again and again, and
// nothing that it makes up reaches the app.
func TestAttackReplyNamesOthers(t *testing.T) {
	s := startScripted(t)
	wanted, other := letter(t, "first", 0), letter(t, "another", 0)
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		if _, ok := req.Body.(*pushwire.Fetch); ok {
			return pushwire.Reply{State: pushwire.Active, Body: &pushwire.FetchReply{
				Sent: []common.Hash{other.Hash()}, Missing: []common.Hash{{1}, {2}},
			}}, nil, true
		}
		return accepted(1), nil, true
	}
	d := s.open(t, new(MemoryStore))
	require.NoError(t, d.Register(t.Context(), route()))
	event, err := d.Receive(t.Context(), d.push(t, 1, wanted))
	require.ErrorContains(t, err, "the reply names none of them")
	require.Empty(t, event.Missing)
	fetches := 0
	for _, req := range s.seen() {
		if _, ok := req.Body.(*pushwire.Fetch); ok {
			fetches++
		}
	}
	require.Equal(t, 1, fetches)
}
