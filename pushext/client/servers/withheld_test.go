package servers

import (
	"bytes"
	"context"
	"encoding/hex"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext"
	"whisperpush/pushext/client"
	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/archivelog"
	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

// tampered is a mailserver as node puts one together, on a real link and a real archive; but
// below its push server the log has a message of the test's choice on another topic, so that
// nobody is woken for it. Everything that it signs it signs as the real one does.
type tampered struct {
	*archive.Archive
	push *pushserver.Server
	mail *mailserver.Server

	mu     sync.Mutex // guards the following
	hidden common.Hash
	pushed chan []byte
}

func (s *tampered) hide(h common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = h
}

func (s *tampered) topic(r archive.Record) whisper.Topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Hash == s.hidden {
		return whisper.Topic{}
	}
	return r.Topic
}

func (s *tampered) HandleRequest(peer enode.ID, payload []byte) {
	env, err := whisper.DecodeEnvelope(payload)
	switch {
	case err != nil:
	case env.Topic == pushwire.Topic():
		s.push.HandleEnvelope(peer, env)
	default:
		s.mail.HandleEnvelope(peer, env)
	}
}

// Name, Check and Push make it its own push service.
func (s *tampered) Name() string { return "own" }

func (s *tampered) Check(pushext.Address) error { return nil }

func (s *tampered) Push(_ context.Context, n pushext.Notification) pushext.Verdict {
	s.pushed <- bytes.Clone(n.Body)
	return pushext.Verdict{Class: pushext.Delivered}
}

func startTampered(t *testing.T) (s *tampered, peer *network.Peer, pushKey string) {
	t.Helper()
	kept, err := archive.Open(t.TempDir(), archive.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, kept.Close()) })
	s = &tampered{Archive: kept, pushed: make(chan []byte, 64)}
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	nodeKey, err := crypto.GenerateKey()
	require.NoError(t, err)
	peer = network.Start(t, network.Options{Key: nodeKey, Whisper: whisper.Config{Archiver: kept, Requests: s}})
	seen := archivelog.Log{Archive: kept, Topic: s.topic} // the archive as the push server sees it
	s.push, err = pushserver.New(pushserver.Config{
		Dir: t.TempDir(), PushKey: key, DiskKey: bytes.Repeat([]byte{7}, pushserver.DiskKeySize),
		Log: seen, Envelopes: seen, Sender: peer.Node, Providers: []pushext.Provider{s}, SkipChallenge: []string{"own"},
	})
	require.NoError(t, err)
	require.NoError(t, s.push.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, s.push.Stop(context.Background())) })
	s.mail, err = mailserver.NewServer(mailserver.ServerConfig{
		Store: kept, Sender: peer.Node, Identity: nodeKey, Sign: func(digest []byte) ([]byte, error) { return crypto.Sign(digest, key) },
	})
	require.NoError(t, err)
	s.mail.Start()
	t.Cleanup(s.mail.Stop)
	return s, peer, hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey))
}

// A device of one server alone convicts it of a wake-up that it withheld: it finds the message
// in the history, and the server has signed that it owes it nothing of the kind. Others need
// nothing but the bytes. A message that it was woken for proves nothing.
func TestOneServerIsConvicted(t *testing.T) {
	server, peer, pushKey := startTampered(t)
	store := new(client.MemoryStore)
	open := func() *client.Device {
		d, err := client.Open(t.Context(), client.Config{Server: peer.Enode.URLv4(), PushKey: pushKey, Chats: []client.Chat{family()}, Store: store})
		require.NoError(t, err)
		return d
	}
	d := open()
	phone := New()
	require.NoError(t, phone.Add(pushKey, d))
	t.Cleanup(func() { require.NoError(t, phone.Close()) })
	require.NoError(t, d.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "own", Address: []byte("a phone")}}}))
	require.True(t, d.Active())
	verdict := func() Finding {
		found, err := phone.Check(t.Context(), true)
		require.NoError(t, err)
		require.Len(t, found, 1)
		return found[0]
	}
	write := func(text string) *whisper.Envelope {
		sealed, err := whisper.Seal(t.Context(), client.Compose(family(), []byte(text), nil, time.Now()))
		require.NoError(t, err)
		e, err := whisper.Renew(t.Context(), sealed, whisper.Draft{PoW: whisper.DefaultMinPoW, TTL: 60})
		require.NoError(t, err)
		return e
	}
	post := func(e *whisper.Envelope) {
		before := server.Last()
		require.NoError(t, peer.Node.Post(t.Context(), e))
		require.Eventually(t, func() bool { return server.Last() > before && server.push.Position() == server.Last() }, 10*time.Second, time.Millisecond)
	}
	_, err := phone.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, Fine, verdict().Verdict)

	// What the device is woken for is no evidence.
	post(write("hello"))
	event, err := phone.Receive(t.Context(), <-server.pushed)
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.NoError(t, phone.Shown(t.Context(), event.Hashes()...))
	_, err = phone.History(t.Context())
	require.NoError(t, err)
	require.Equal(t, Fine, verdict().Verdict)

	// The server rings for everything but one message.
	withheld := write("come at once")
	server.hide(withheld.Hash())
	post(withheld)
	post(write("and bring an umbrella"))
	event, err = phone.Receive(t.Context(), <-server.pushed)
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.Nil(t, verdict().Evidence, "nobody knows of it")
	event, err = phone.History(t.Context())
	require.NoError(t, err)
	require.Contains(t, event.Hashes(), withheld.Hash())
	var found Finding
	require.Eventually(t, func() bool { // once the head is about the end of the answer
		found = verdict()
		return found.Verdict == Withholds
	}, 10*time.Second, 20*time.Millisecond)

	file, err := found.Evidence.Encode()
	require.NoError(t, err)
	shown, err := evidence.Decode(file)
	require.NoError(t, err)
	require.NoError(t, shown.Verify())
	require.Equal(t, pushKey, hex.EncodeToString(shown.PushKey))
	require.Equal(t, withheld.Raw(), []byte(shown.Envelope))
	require.NoError(t, d.Close())
	again := open()
	require.Equal(t, found.Evidence, again.Evidence(), "it is kept with the account")
	require.NoError(t, again.Close())
}
