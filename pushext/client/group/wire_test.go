package group

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

var update = flag.Bool("update", false, "write testdata/vectors.txt anew")

const vectorFile = "testdata/vectors.txt"

func filled(b byte) (s secret) { return secret(bytes.Repeat([]byte{b}, len(s))) }

// keys of the vectors; nobody else should use them.
func vectorKeys(t testing.TB) (alice, bob Key) {
	a, err := crypto.ToECDSA(bytes.Repeat([]byte{0xa1}, 32))
	require.NoError(t, err)
	b, err := crypto.ToECDSA(bytes.Repeat([]byte{0xb0}, 32))
	require.NoError(t, err)
	return KeyOf(&a.PublicKey), KeyOf(&b.PublicKey)
}

func vectorRecord(t testing.TB) record {
	alice, bob := vectorKeys(t)
	next := filled(0x02)
	return record{
		Group: ID{0x1d}, Name: []byte("choir"), Epoch: 2, Parents: []common.Hash{{0xaa}}, Secret: filled(0x01), Pledge: next.pledge(),
		Removed: []Key{alice}, Added: []Member{{bob, true}}, To: bob, Ticket: next.ticket(bob), Next: next[:], All: []Member{{alice, true}, {bob, false}},
	}
}

func vectorFrame(t testing.TB) frame {
	_, bob := vectorKeys(t)
	return frame{Kind: kindMention, Group: ID{0x1d}, Epoch: 2, ID: common.Hash{0x1e}, To: bob[:], Body: []byte("Bob, listen")}
}

// The bytes of docs/protocol.md.
func TestVectors(t *testing.T) {
	alice, bob := vectorKeys(t)
	s := filled(0x01)
	at, ring := s.messages(), s.ticket(bob).ring()
	r, f := vectorRecord(t), vectorFrame(t)
	var b strings.Builder
	add := func(name, about string, value []byte) {
		fmt.Fprintf(&b, "# %s\n%s\n    %x\n\n", about, name, value)
	}
	b.WriteString("# What members of a group send each other, see docs/protocol.md. Alice's private key is 32 × a1, Bob's 32 × b0,\n# the epoch's secret 32 × 01 and that of the next 32 × 02.\n\n")
	add("alice", "Alice's public key, compressed", alice[:])
	add("bob", "Bob's", bob[:])
	add("messages-topic", "where the group's messages go", at.topic[:])
	add("messages-key", "and their key", at.key[:])
	add("ring-topic", "where Bob is rung", ring.topic[:])
	add("ring-key", "and the key of what is sent there", ring.key[:])
	add("frame", "a mention of Bob in epoch 2 of the group 1d00…: \"Bob, listen\"; id 1e00…", f.encode())
	add("message-id", "what that message is called, if Alice wrote it", func() []byte { id := messageID(f.Group, alice, f.ID); return id[:] }())
	add("record", "to Bob: epoch 2 of the group 1d00…, \"choir\", after the record aa00…; Alice is removed, Bob an admin; with all members before", r.encode())
	add("record-id", "of the same, if Alice made it", func() []byte { id := r.id(alice); return id[:] }())
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(vectorFile, []byte(b.String()), 0o644))
	}
	file, err := os.ReadFile(vectorFile)
	require.NoError(t, err)
	require.Equal(t, string(file), b.String())
	docs, err := os.ReadFile("../../../docs/protocol.md")
	require.NoError(t, err)
	for name, value := range map[string][]byte{"frame": f.encode(), "ring key": ring.key[:], "record": r.encode()} {
		require.True(t, strings.Contains(string(docs), hex.EncodeToString(value)), "docs/protocol.md has another %s", name)
	}

	again, err := decodeFrame(f.encode())
	require.NoError(t, err)
	require.Equal(t, f, again)
	back, err := decodeRecord(r.encode())
	require.NoError(t, err)
	require.Equal(t, r, back)
}

// How long what goes through the network is, as docs/groups.md says: a mention of up to 50
// bytes is an envelope of the size of any short message.
func TestSizes(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	size := func(payload []byte, to bool) (n int) {
		defer func() { t.Logf("%d bytes of payload: an envelope of %d", len(payload), n) }()
		draft := client.Compose(client.Chat{Key: make([]byte, 32)}, payload, key, time.Now())
		if to {
			draft.Key, draft.To = nil, &key.PublicKey
		}
		e, err := whisper.Seal(t.Context(), draft)
		require.NoError(t, err)
		return len(e.Raw())
	}
	f := vectorFrame(t)
	f.Body = make([]byte, 50)
	mention, short := size(f.encode(), false), size([]byte("a short message"), false)
	require.InDelta(t, 302, mention, 1)
	require.InDelta(t, short, mention, 1)
	f.Body = make([]byte, 160)
	require.InDelta(t, 558, size(f.encode(), false), 4)

	r := vectorRecord(t)
	r.All, r.Next = nil, nil
	require.InDelta(t, 643, size(r.encode(), true), 8)
	r.All = make([]Member, 200)
	require.InDelta(t, 7811, size(r.encode(), true), 8)
}

func TestRefusedMessages(t *testing.T) {
	f, r := vectorFrame(t), vectorRecord(t)
	for name, change := range map[string]func(){
		"kind":    func() { f.Kind = 9 },
		"to":      func() { f.To = f.To[:5] },
		"message": func() { f.Kind = kindMessage },
		"long":    func() { f.Body = make([]byte, MaxBody+1) },
	} {
		f = vectorFrame(t)
		change()
		_, err := decodeFrame(f.encode())
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	for name, change := range map[string]func(){
		"epoch":   func() { r.Epoch = 0 },
		"parents": func() { r.Parents = nil },
		"many":    func() { r.Parents = make([]common.Hash, maxParents+1) },
		"name":    func() { r.Name = make([]byte, MaxName+1) },
		"members": func() { r.All = make([]Member, MaxMembers+1) },
		"rank":    func() { r.Rank = MaxMembers },
		"pledge":  func() { r.Pledge = common.Hash{1} },
		"next":    func() { r.Next = r.Next[:3] },
	} {
		r = vectorRecord(t)
		change()
		_, err := decodeRecord(r.encode())
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	// What a later version adds at the end is passed over.
	longer := mustEncode([]any{uint64(version), uint64(kindMessage), ID{1}, uint64(1), common.Hash{2}, []byte{}, []byte("hi"), "more"})
	_, err := decodeFrame(longer)
	require.NoError(t, err)
}

func FuzzFrame(f *testing.F) {
	frame := vectorFrame(f)
	f.Add(frame.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFrame(b)
		if err != nil {
			return
		}
		again, err := decodeFrame(got.encode())
		require.NoError(t, err)
		require.Equal(t, got.encode(), again.encode())
	})
}

// A letter of anybody, in whatever form, leaves a group in order.
func FuzzRecord(f *testing.F) {
	r := vectorRecord(f)
	f.Add(r.encode())
	alice, bob := vectorKeys(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := decodeRecord(got.encode())
		require.NoError(t, err)
		require.Equal(t, got.id(alice), again.id(alice))
		s := found(got.Group, "", bob, 0)
		before := s.members()
		if err := s.take(got, alice, bob, 0); err == nil {
			require.Equal(t, before, s.members(), "alice is no admin")
		}
		s = new(state)
		if s.take(got, alice, bob, 0) == nil {
			require.NotEmpty(t, s.current())
			require.GreaterOrEqual(t, find(s.members(), bob), 0)
		}
	})
}

func FuzzBook(f *testing.F) {
	f.Add([]byte(`{"format":1,"groups":{"0x1d000000000000000000000000000000":{"Heads":[{"Epoch":1}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := crypto.ToECDSA(bytes.Repeat([]byte{0xb0}, 32))
		require.NoError(t, err)
		store := new(client.MemoryStore)
		require.NoError(t, store.Save(t.Context(), b))
		book, err := OpenBook(t.Context(), store, key)
		if err != nil {
			return
		}
		book.Groups()
		book.Chats()
		book.Reading()
	})
}
