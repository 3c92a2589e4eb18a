package genuinenode_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/testutil/genuinenode"
)

func TestMain(m *testing.M) {
	// p2p's node database: goleveldb ends this goroutine a second after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

var (
	topic  = [4]byte{0xca, 0xfe, 0xba, 0xbe}
	symKey = crypto.Keccak256([]byte("genuinenode test"))
)

// limited bounds what a test waits for: a build from nothing takes a minute.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestMessageBetweenNodes(t *testing.T) {
	ctx := limited(t)
	alice := genuinenode.Run(t, genuinenode.Options{MinPoW: 0.001})
	bob := genuinenode.Run(t, genuinenode.Options{MinPoW: 0.001})
	require.NoError(t, alice.AddPeer(ctx, bob.Enode))
	require.NoError(t, bob.WaitPeer(ctx, alice.ID))

	bobKey, err := crypto.GenerateKey()
	require.NoError(t, err)
	aliceKey, err := crypto.GenerateKey()
	require.NoError(t, err)
	symmetric, err := bob.Subscribe(ctx, genuinenode.Filter{SymKey: symKey, Topics: [][4]byte{topic}})
	require.NoError(t, err)
	asymmetric, err := bob.Subscribe(ctx, genuinenode.Filter{PrivateKey: bobKey, Signer: &aliceKey.PublicKey})
	require.NoError(t, err)

	first, err := alice.Post(ctx, genuinenode.Post{SymKey: symKey, Topic: topic, Payload: []byte("to the group"), PoW: 0.002, TTL: 20})
	require.NoError(t, err)
	second, err := alice.Post(ctx, genuinenode.Post{To: &bobKey.PublicKey, SignKey: aliceKey, Topic: topic, Payload: []byte("to bob"), Padding: []byte{1}, PoW: 0.002})
	require.NoError(t, err)
	require.Equal(t, second.Hash, crypto.Keccak256Hash(second.Envelope))

	msg, err := symmetric.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, first.Hash, msg.Hash)
	require.Equal(t, "to the group", string(msg.Payload))
	require.Equal(t, topic[:], []byte(msg.Topic))
	require.Nil(t, msg.Signer)
	require.EqualValues(t, 20, msg.TTL)
	require.Greater(t, float64(msg.PoW), 0.002*0.9)

	msg, err = asymmetric.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, second.Hash, msg.Hash)
	require.Equal(t, "to bob", string(msg.Payload))
	require.Equal(t, []byte{1}, []byte(msg.Padding))
	require.Equal(t, crypto.FromECDSAPub(&aliceKey.PublicKey), []byte(msg.Signer))
	require.Equal(t, crypto.FromECDSAPub(&bobKey.PublicKey), []byte(msg.Recipient))

	pool, err := bob.PoolHashes(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []common.Hash{first.Hash, second.Hash}, pool)
	require.NoError(t, symmetric.Close(ctx))

	require.NoError(t, alice.RemovePeer(ctx, bob.Enode))
	_, err = bob.WaitPeerGone(ctx, alice.ID)
	require.NoError(t, err)
	require.False(t, bob.Connected(alice.ID))
}

func TestMailBetweenNodes(t *testing.T) {
	ctx := limited(t)
	server := genuinenode.Run(t, genuinenode.Options{MailDir: t.TempDir(), MailPassword: "mail password"})
	client := genuinenode.Run(t, genuinenode.Options{})
	require.NoError(t, client.AddPeer(ctx, server.Enode))
	require.NoError(t, server.WaitPeer(ctx, client.ID))

	// Archived straight: what is outside the range asked for, or cannot be opened.
	_, err := server.Fill(ctx, genuinenode.Load{Count: 100, Topics: 10, Size: 284, From: 1_600_000_000, Span: 100, TTL: 50}, 2)
	require.NoError(t, err)
	// Archived on its way through the network.
	var sent []common.Hash
	for _, text := range []string{"one", "two", "three"} {
		s, err := client.Post(ctx, genuinenode.Post{SymKey: symKey, Topic: topic, Payload: []byte(text)})
		require.NoError(t, err)
		sent = append(sent, s.Hash)
	}
	archived, err := server.AwaitArchived(ctx, len(sent))
	require.NoError(t, err)
	require.Equal(t, len(sent), archived.Count)
	require.LessOrEqual(t, archived.First, archived.Last)

	mailKey, err := client.SymKey(ctx, "mail password")
	require.NoError(t, err)
	signKey, err := crypto.GenerateKey()
	require.NoError(t, err)
	mail, err := client.Subscribe(ctx, genuinenode.Filter{SymKey: symKey, Topics: [][4]byte{topic}, AllowP2P: true})
	require.NoError(t, err)
	request := genuinenode.MailRequest{Mailserver: server.ID, SymKey: mailKey, SignKey: signKey, Lower: 1_600_000_000, Upper: math.MaxUint32 - 1}
	_, err = client.RequestMail(ctx, request)
	require.NoError(t, err)
	var got []common.Hash
	for range sent {
		msg, err := mail.Next(ctx)
		require.NoError(t, err)
		got = append(got, msg.Hash)
	}
	require.ElementsMatch(t, sent, got)
	require.Empty(t, mail.Take())
}

func TestInfoAndSettings(t *testing.T) {
	ctx := limited(t)
	n := genuinenode.Run(t, genuinenode.Options{Light: true, MaxMessageSize: 5000})
	info, err := n.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, n.Enode, info.Enode)
	require.Equal(t, n.ID, info.ID)
	require.True(t, info.Light)
	require.Equal(t, make([]byte, 64), []byte(info.Bloom))
	require.EqualValues(t, 5000, info.MaxMessageSize)

	full := make([]byte, 64)
	for i := range full {
		full[i] = 0xff
	}
	require.NoError(t, n.SetBloom(ctx, full))
	require.Error(t, n.SetBloom(ctx, full[1:]))
	require.NoError(t, n.SetLight(ctx, false))
	require.NoError(t, n.SetMinPoW(ctx, 0.5))
	require.NoError(t, n.SetMaxMessageSize(ctx, 6000))
	info, err = n.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, full, []byte(info.Bloom))
	require.False(t, info.Light)
	require.Equal(t, 0.5, info.MinPoW)
	require.EqualValues(t, 6000, info.MaxMessageSize)
	_, err = n.AwaitArchived(ctx, 0)
	require.ErrorContains(t, err, "without a mailserver")
	peers, err := n.Peers(ctx)
	require.NoError(t, err)
	require.Empty(t, peers)
}

// TestCrash is what anybody who knows the password can do to the genuine
// mailserver: its request, from the vectors, is cut off inside the size field.
func TestCrash(t *testing.T) {
	ctx := limited(t)
	b, err := os.ReadFile(filepath.Join("..", "..", "whisper", "testdata", "genuine", "mail-requests.json"))
	require.NoError(t, err)
	var vectors struct {
		Cases []struct {
			Password string
			Packet   hexutil.Bytes
			Panics   bool
		}
	}
	require.NoError(t, json.Unmarshal(b, &vectors))
	crash := vectors.Cases[len(vectors.Cases)-1]
	require.True(t, crash.Panics)

	server := genuinenode.Run(t, genuinenode.Options{MailDir: t.TempDir(), MailPassword: crash.Password})
	client := genuinenode.Run(t, genuinenode.Options{})
	require.NoError(t, client.AddPeer(ctx, server.Enode))
	require.NoError(t, server.Err())
	_, err = client.Send(ctx, crash.Packet, genuinenode.Request, server.ID)
	require.NoError(t, err)
	select {
	case <-server.Ended():
	case <-ctx.Done():
		t.Fatal("the genuine mailserver survived")
	}
	require.ErrorContains(t, server.Err(), "slice bounds out of range")
	_, err = server.Info(ctx)
	require.Error(t, err)
	_, err = client.WaitPeerGone(ctx, server.ID)
	require.NoError(t, err)
}

func TestKill(t *testing.T) {
	n := genuinenode.Run(t, genuinenode.Options{})
	n.Kill()
	require.ErrorContains(t, n.Err(), "killed")
}

func TestLoad(t *testing.T) {
	ctx := limited(t)
	l := genuinenode.Load{Count: 50, Seed: 7, Topics: 5, Size: 284, From: 1_600_000_000, Span: 10, TTL: 60}
	path := filepath.Join(t.TempDir(), "envelopes")
	require.NoError(t, genuinenode.WriteLoad(ctx, l, path))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	s := rlp.NewStream(f, 0)
	for i := range l.Count {
		var env struct {
			Expiry, TTL uint32
			Topic       [4]byte
			Data        []byte
			Nonce       uint64
		}
		require.NoError(t, s.Decode(&env))
		require.Equal(t, l.Topic(i), env.Topic)
		require.EqualValues(t, i, env.Nonce)
		require.Len(t, env.Data, l.Size)
		require.EqualValues(t, 60, env.TTL)
		require.EqualValues(t, 1_600_000_060+i/5, env.Expiry)
	}
	timing, err := genuinenode.TimeArchive(ctx, genuinenode.Load{File: path}, t.TempDir(), 8)
	require.NoError(t, err)
	require.Equal(t, 50, timing.Envelopes)
	require.Equal(t, 8, timing.Writers)
	require.Positive(t, timing.PerSecond)

	_, err = genuinenode.TimeArchive(ctx, genuinenode.Load{File: path + ".none"}, t.TempDir(), 1)
	require.ErrorContains(t, err, "no such file")
}

func TestStartRefused(t *testing.T) {
	_, err := genuinenode.Start(limited(t), genuinenode.Options{MailDir: t.TempDir()})
	require.ErrorContains(t, err, "password is not specified")
}
