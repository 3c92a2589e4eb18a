package mailserver

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/testutil/genuinenode"
	"whisperpush/testutil/network"
	"whisperpush/whisper"
)

const mailPassword = "interop"

// lateSender is the node of a server that is made before it.
type lateSender struct{ *whisper.Node }

// startMailserver runs a mailserver of ours on the loopback.
func startMailserver(t *testing.T, store Store) *network.Peer {
	sender := new(lateSender)
	server, err := NewServer(ServerConfig{Store: store, Sender: sender, Key: whisper.KeyFromPassword(mailPassword)})
	require.NoError(t, err)
	peer := network.Start(t, network.Options{Whisper: whisper.Config{Requests: server}})
	sender.Node = peer.Node
	server.Start()
	t.Cleanup(server.Stop)
	return peer
}

// startMailClient runs a node of ours with a mail client.
func startMailClient(t *testing.T, cfg mailclient.Config) (*network.Peer, *mailclient.Client) {
	client := mailclient.New(cfg)
	peer := network.Start(t, network.Options{NoListen: true, Whisper: whisper.Config{Direct: client}})
	client.Attach(peer.Node)
	return peer, client
}

// mail is what the mailservers of a test have archived.
type mail struct {
	now       uint32
	envelopes []*whisper.Envelope
	sentinel  *whisper.Envelope // sent a day before all others, alone
}

var (
	mailKey = crypto.Keccak256([]byte("letters"))
	// Of the bits of the second topic two fall into one byte of the bloom filter,
	// so it takes the genuine node's quirk to find it. The bloom filter of the
	// third covers that of the first only in part.
	mailTopics = []whisper.Topic{{0xca, 0xfe, 0xba, 0xbe}, {0x10, 0x17, 0x83, 0x00}, {0xca, 0xfe, 0, 0}}
)

func writeMail(t *testing.T) mail {
	m := mail{now: uint32(time.Now().Unix())}
	seal := func(ago uint32, topic whisper.Topic) *whisper.Envelope {
		e, err := whisper.Seal(t.Context(), whisper.Draft{
			Payload: []byte("letter"), Key: mailKey, Topic: topic, TTL: 50, Now: time.Unix(int64(m.now-ago), 0),
		})
		require.NoError(t, err)
		return e
	}
	for i := range 60 {
		m.envelopes = append(m.envelopes, seal(uint32(i/2), mailTopics[i%len(mailTopics)]))
	}
	m.sentinel = seal(86400, whisper.Topic{})
	return m
}

func (m mail) hashes(want func(*whisper.Envelope) bool) (hashes []common.Hash) {
	for _, e := range m.envelopes {
		if want(e) {
			hashes = append(hashes, e.Hash())
		}
	}
	return hashes
}

// archive returns an archive with the mail on disk.
func (m mail) archive(t *testing.T) *archive.Archive {
	a, err := archive.Open(t.TempDir(), archive.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	archiveAll(t, a, append(m.envelopes, m.sentinel)...)
	return a
}

func archiveAll(t *testing.T, a *archive.Archive, envs ...*whisper.Envelope) {
	t.Helper()
	done := make(chan error, 1)
	a.Archive(t.Context(), envs, func(err error) { done <- err })
	require.NoError(t, <-done)
}

// startGenuineMailserver runs the genuine one with the same mail.
func startGenuineMailserver(ctx context.Context, t *testing.T, m mail) *genuinenode.Node {
	var raw []byte
	for _, e := range append([]*whisper.Envelope{m.sentinel}, m.envelopes...) {
		raw = append(raw, e.Raw()...)
	}
	file := filepath.Join(t.TempDir(), "mail.rlp")
	require.NoError(t, os.WriteFile(file, raw, 0o600))
	node := genuinenode.Run(t, genuinenode.Options{MailDir: t.TempDir(), MailPassword: mailPassword})
	timing, err := node.Fill(ctx, genuinenode.Load{File: file}, 1)
	require.NoError(t, err)
	require.Equal(t, len(m.envelopes)+1, timing.Envelopes)
	return node
}

// classicRequests are what a genuine mail client asks.
func (m mail) classicRequests() map[string]mailwire.Request {
	blooms := make([]whisper.Bloom, len(mailTopics))
	for i, topic := range mailTopics {
		blooms[i] = topic.Bloom()
	}
	both := blooms[0]
	both.Merge(blooms[1])
	full := whisper.FullBloom()
	hour := mailwire.Request{Lower: m.now - 3600, Upper: m.now}
	with := func(b *whisper.Bloom) mailwire.Request { r := hour; r.Bloom = b; return r }
	return map[string]mailwire.Request{
		"8 bytes":                      hour,
		"8 bytes, part of the range":   {Lower: m.now - 20, Upper: m.now - 7},
		"8 bytes, one second":          {Lower: m.now - 9, Upper: m.now - 9},
		"8 bytes, upper open":          {Lower: m.now - 3600, Upper: math.MaxUint32 - 1},
		"8 bytes, wrong order":         {Lower: m.now, Upper: m.now - 3600},
		"72 bytes, full bloom":         with(&full),
		"72 bytes, a topic":            with(&blooms[0]),
		"72 bytes, a colliding topic":  with(&blooms[1]),
		"72 bytes, a sparse topic":     with(&blooms[2]),
		"72 bytes, two topics":         with(&both),
		"72 bytes, nothing fits bloom": with(new(whisper.Bloom)),
	}
}

// TestGenuineMailClient: the genuine mail client gets from our mailserver exactly
// what it gets from the genuine one.
func TestGenuineMailClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m := writeMail(t)
	theirs := startGenuineMailserver(ctx, t, m)
	ours := startMailserver(t, m.archive(t))
	client := genuinenode.Run(t, genuinenode.Options{})
	require.NoError(t, client.AddPeer(ctx, theirs.Enode))
	require.NoError(t, client.AddPeer(ctx, ours.Enode.URLv4()))

	inbox, err := client.Subscribe(ctx, genuinenode.Filter{SymKey: mailKey, AllowP2P: true})
	require.NoError(t, err)
	key, err := client.SymKey(ctx, mailPassword)
	require.NoError(t, err)
	signer, err := crypto.GenerateKey()
	require.NoError(t, err)
	send := func(server enode.ID, payload []byte) {
		_, err = client.RequestMail(ctx, genuinenode.MailRequest{Mailserver: server, SymKey: key, SignKey: signer, Payload: payload})
		require.NoError(t, err)
	}
	day := binary.BigEndian.AppendUint32(nil, m.sentinel.Sent())
	day = append(day, day...)
	// ask sends a request and then one that the sentinel answers, which comes
	// after everything else. The genuine filter shuffles what comes together, so
	// the sentinel is asked for once more.
	ask := func(server enode.ID, r mailwire.Request) (hashes []common.Hash) {
		payload, err := r.Encode()
		require.NoError(t, err)
		send(server, payload)
		for range 2 {
			send(server, day)
			for {
				msg, err := inbox.Next(ctx)
				require.NoError(t, err)
				if msg.Hash == m.sentinel.Hash() {
					break
				}
				hashes = append(hashes, msg.Hash)
			}
		}
		return hashes
	}
	some := 0
	for name, r := range m.classicRequests() {
		want := ask(theirs.ID, r)
		require.ElementsMatch(t, want, ask(ours.ID(), r), name)
		some += len(want)
	}
	require.Greater(t, some, 200)
	require.True(t, client.Connected(ours.ID()))
}

// TestGenuineMailserver: our mail client works with the genuine mailserver.
func TestGenuineMailserver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m := writeMail(t)
	theirs := startGenuineMailserver(ctx, t, m)
	peer, client := startMailClient(t, mailclient.Config{Quiet: time.Second})
	peer.Server.AddPeer(enode.MustParse(theirs.Enode))
	require.NoError(t, theirs.WaitPeer(ctx, peer.ID()))
	require.NoError(t, peer.Node.WaitPeer(ctx, theirs.ID))
	peer.Node.Trust(theirs.ID)

	server := mailclient.Server{ID: theirs.ID, Key: whisper.KeyFromPassword(mailPassword)}
	for _, name := range []string{"8 bytes, part of the range", "72 bytes, a topic", "72 bytes, a colliding topic"} {
		r, ok := m.classicRequests()[name]
		require.True(t, ok)
		a, err := client.Ask(ctx, server, r)
		require.NoError(t, err)
		require.False(t, a.Marked)
		require.Zero(t, a.Ignored)
		want := m.hashes(func(e *whisper.Envelope) bool {
			return e.Sent() >= r.Lower && e.Sent() <= r.Upper && (r.Bloom == nil || r.Bloom.Covers(e.Topic.Bloom()))
		})
		require.NotEmpty(t, want)
		var got []common.Hash
		for _, e := range a.Envelopes {
			got = append(got, e.Hash())
		}
		require.ElementsMatch(t, want, got, name)
	}
}

// TestOwnMailClient: every form between our client and our mailserver, over a real
// link.
func TestOwnMailClient(t *testing.T) {
	m := writeMail(t)
	kept := m.archive(t)
	ours := startMailserver(t, kept)
	peer, client := startMailClient(t, mailclient.Config{Quiet: time.Second / 4})
	network.Connect(t, peer, ours)
	server := mailclient.Server{ID: ours.ID(), Key: whisper.KeyFromPassword(mailPassword)}
	topic := mailTopics[0]
	all := m.hashes(func(*whisper.Envelope) bool { return true })
	ofTopic := m.hashes(func(e *whisper.Envelope) bool { return e.Topic == topic })
	hour := mailwire.Request{Lower: m.now - 3600, Upper: m.now}

	collect := func(r mailwire.Request) ([]common.Hash, mailwire.Cursor) {
		var hashes []common.Hash
		cursor, err := client.Collect(t.Context(), server, r, func(envs []*whisper.Envelope) error {
			for _, e := range envs {
				hashes = append(hashes, e.Hash())
			}
			return nil
		})
		require.NoError(t, err)
		return hashes, cursor
	}

	_, err := client.Ask(t.Context(), server, mailclient.Since(mailwire.Cursor{}))
	require.ErrorIs(t, err, mailclient.ErrIncomplete, "not trusted yet")
	peer.Node.Trust(ours.ID())

	got, _ := collect(hour)
	require.ElementsMatch(t, all, got)
	for _, form := range []mailwire.Form{mailwire.Fixed, mailwire.List} {
		r := hour
		r.Form, r.Limit = form, 7
		got, cursor := collect(r)
		require.ElementsMatch(t, all, got, form)
		require.Zero(t, cursor)
	}
	got, cursor := collect(mailclient.Since(mailwire.Cursor{}, topic))
	require.Equal(t, ofTopic, got)
	require.EqualValues(t, len(all)+1, cursor.Seq)
	got, _ = collect(mailclient.Since(cursor, topic))
	require.Empty(t, got)

	// A late envelope from before the time that was asked for already.
	late, err := whisper.Seal(t.Context(), whisper.Draft{Key: mailKey, Topic: topic, TTL: 50, Now: time.Unix(int64(m.now-2000), 0)})
	require.NoError(t, err)
	archiveAll(t, kept, late)
	got, cursor = collect(mailclient.Since(cursor, topic))
	require.Equal(t, []common.Hash{late.Hash()}, got)
	got, _ = collect(mailclient.Since(cursor, topic))
	require.Empty(t, got)

	got, _ = collect(mailclient.Hashes(all[3], all[1], common.Hash{1}))
	require.Equal(t, []common.Hash{all[3], all[1]}, got)

	wrong := server
	wrong.Key = make([]byte, whisper.SymmetricKeySize)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
	defer cancel()
	_, err = client.Ask(ctx, wrong, mailclient.Since(mailwire.Cursor{}))
	require.ErrorIs(t, err, context.DeadlineExceeded, "a wrong password is met with silence")
	require.Len(t, ours.Node.Peers(), 1)
}
