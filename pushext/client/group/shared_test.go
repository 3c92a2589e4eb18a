package group

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// sharedVectors is what this package and web/client/src/group wrote, and both read: the same
// files and fields as web/client/test/vectors-group.ts has.
type sharedVectors struct {
	Frames []struct {
		Name  string        `json:"name"`
		Value sharedFrame   `json:"value"`
		Bytes hexutil.Bytes `json:"bytes"`
	} `json:"frames"`
	Records []struct {
		Name  string        `json:"name"`
		Value sharedRecord  `json:"value"`
		Bytes hexutil.Bytes `json:"bytes"`
		By    Key           `json:"by"`
		ID    common.Hash   `json:"id"`
	} `json:"records"`
	Story sharedStory `json:"story"`
}

type sharedFrame struct {
	Kind  uint64        `json:"kind"`
	Group ID            `json:"group"`
	Epoch uint64        `json:"epoch"`
	ID    common.Hash   `json:"id"`
	To    optional      `json:"to"`
	Body  hexutil.Bytes `json:"body"`
}

type sharedRecord struct {
	Group   ID             `json:"group"`
	Name    hexutil.Bytes  `json:"name"`
	Epoch   uint64         `json:"epoch"`
	Rank    uint64         `json:"rank"`
	Parents []common.Hash  `json:"parents"`
	Secret  secret         `json:"secret"`
	Pledge  common.Hash    `json:"pledge"`
	Removed []Key          `json:"removed"`
	Added   []sharedMember `json:"added"`
	To      Key            `json:"to"`
	Ticket  ticket         `json:"ticket"`
	Next    optional       `json:"next"`
	All     []sharedMember `json:"all"`
}

type sharedMember struct {
	Key   Key  `json:"key"`
	Admin bool `json:"admin"`
}

// sharedStory is what one member of a group was told from the beginning, and what they make
// of it.
type sharedStory struct {
	Key        hexutil.Bytes   `json:"key"` // private, of the member
	From       Key             `json:"from"`
	Invitation hexutil.Bytes   `json:"invitation"`
	Letters    []sharedLetter  `json:"letters"`
	Messages   []sharedMessage `json:"messages"`
	Group      ID              `json:"group"`
	Name       string          `json:"name"`
	Epoch      uint64          `json:"epoch"`
	Members    []sharedMember  `json:"members"`
}

type sharedLetter struct {
	Topic   hexutil.Bytes `json:"topic"`
	By      Key           `json:"by"`
	Payload hexutil.Bytes `json:"payload"`
	Sent    int64         `json:"sent"` // Unix milliseconds
}

type sharedMessage struct {
	sharedLetter
	Text    string      `json:"text"`
	Name    common.Hash `json:"name"`
	Mention bool        `json:"mention"`
}

// optional is hexadecimal, or no text for no bytes.
type optional []byte

func (o optional) MarshalText() ([]byte, error) {
	if len(o) == 0 {
		return nil, nil
	}
	return hexutil.Bytes(o).MarshalText()
}

func (o *optional) UnmarshalText(text []byte) error {
	*o = nil
	if len(text) == 0 {
		return nil
	}
	return (*hexutil.Bytes)(o).UnmarshalText(text)
}

func shared(list []Member) []sharedMember {
	all := []sharedMember{}
	for _, m := range list {
		all = append(all, sharedMember(m))
	}
	return all
}

func sharedFile(writer string) string {
	return filepath.Join("..", "..", "..", "web", "vectors", "testdata", writer, "group.json")
}

// A group that was made in one language is one in the other, to the byte.
func TestSharedVectors(t *testing.T) {
	if *update {
		writeShared(t)
	}
	for _, writer := range []string{"go", "typescript"} {
		t.Run("of "+writer, func(t *testing.T) {
			file, err := os.ReadFile(sharedFile(writer))
			require.NoError(t, err)
			var all sharedVectors
			require.NoError(t, json.Unmarshal(file, &all))
			require.GreaterOrEqual(t, len(all.Frames), 4)
			for _, v := range all.Frames {
				f, err := decodeFrame(v.Bytes)
				require.NoError(t, err, v.Name)
				require.True(t, bytes.Equal(v.Bytes, f.encode()), v.Name)
				require.Equal(t, jsonOf(t, v.Value), jsonOf(t, sharedFrame{f.Kind, f.Group, f.Epoch, f.ID, f.To, f.Body}), v.Name)
			}
			require.GreaterOrEqual(t, len(all.Records), 4)
			for _, v := range all.Records {
				r, err := decodeRecord(v.Bytes)
				require.NoError(t, err, v.Name)
				require.True(t, bytes.Equal(v.Bytes, r.encode()), v.Name)
				require.Equal(t, v.ID, r.id(v.By), v.Name)
				require.Equal(t, jsonOf(t, v.Value), jsonOf(t, sharedOf(r)), v.Name)
			}
			follow(t, all.Story)
		})
	}
}

func sharedOf(r record) sharedRecord {
	return sharedRecord{
		r.Group, r.Name, r.Epoch, r.Rank, append([]common.Hash{}, r.Parents...), r.Secret, r.Pledge, append([]Key{}, r.Removed...), shared(r.Added),
		r.To, r.Ticket, r.Next, shared(r.All),
	}
}

func jsonOf(t *testing.T, v any) string {
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// follow has a member go through a story.
func follow(t *testing.T, s sharedStory) {
	key, err := crypto.ToECDSA(s.Key)
	require.NoError(t, err)
	book, err := OpenBook(t.Context(), new(client.MemoryStore), key)
	require.NoError(t, err)
	from, err := s.From.public()
	require.NoError(t, err)
	id, err := book.Join(t.Context(), s.Invitation, from)
	require.NoError(t, err)
	require.Equal(t, s.Group, id)
	slotOf := func(topic []byte, letter bool) slot {
		for _, sl := range book.places() {
			if sl.chat.Topic == whisper.Topic(topic) && (sl.kind == slotLetter) == letter {
				return sl
			}
		}
		t.Fatalf("nothing is on the topic %x", topic)
		return slot{}
	}
	preview := func(l sharedLetter) *client.Preview {
		by, err := l.By.public()
		require.NoError(t, err)
		return &client.Preview{Sender: by, Payload: l.Payload, Sent: time.UnixMilli(l.Sent)}
	}
	require.NotEmpty(t, s.Letters)
	for _, l := range s.Letters {
		require.NoError(t, book.receive(t.Context(), slotOf(l.Topic, true), preview(l)))
	}
	info, err := book.Group(id)
	require.NoError(t, err)
	require.Equal(t, s.Name, info.Name)
	require.Equal(t, s.Epoch, info.Epoch)
	require.Equal(t, s.Members, shared(info.Members))
	require.NotEmpty(t, s.Messages)
	for _, m := range s.Messages {
		sl := slotOf(m.Topic, false)
		require.Equal(t, m.Mention, sl.kind == slotRing)
		p, verdict, err := book.read(t.Context(), sl, preview(m.sharedLetter))
		require.NoError(t, err)
		require.Equal(t, shown, verdict)
		require.Equal(t, m.Text, string(p.Payload))
		require.Equal(t, m.Name, p.Message)
	}
}

func writeShared(t *testing.T) {
	alice, bob := vectorKeys(t)
	var all sharedVectors
	message := frame{Kind: kindMessage, Group: ID{0x1d}, Epoch: 2, ID: common.Hash{0x1e}, Body: []byte("hello")}
	mention, leave, long := message, message, message
	mention.Kind, mention.To = kindMention, bob[:]
	leave.Kind, leave.To, leave.Body = kindLeave, alice[:], nil
	long.Epoch, long.Body = 1<<40, bytes.Repeat([]byte("a"), MaxBody)
	for _, f := range []struct {
		name  string
		value frame
	}{{"message", message}, {"mention", mention}, {"leave", leave}, {"long", long}} {
		all.Frames = append(all.Frames, struct {
			Name  string        `json:"name"`
			Value sharedFrame   `json:"value"`
			Bytes hexutil.Bytes `json:"bytes"`
		}{f.name, sharedFrame{f.value.Kind, f.value.Group, f.value.Epoch, f.value.ID, f.value.To, f.value.Body}, f.value.encode()})
	}
	plain := vectorRecord(t)
	plain.Removed, plain.Added, plain.Next, plain.All = nil, nil, nil, nil
	first, odd, full := plain, plain, vectorRecord(t)
	first.Epoch, first.Parents = 1, nil
	odd.Name = []byte{0xff, 0, 0xfe}
	full.Rank, full.Parents = 3, []common.Hash{{0xaa}, {0xab}}
	for _, r := range []struct {
		name  string
		value record
	}{{"plain", plain}, {"first", first}, {"a name that is no UTF-8", odd}, {"full", full}} {
		all.Records = append(all.Records, struct {
			Name  string        `json:"name"`
			Value sharedRecord  `json:"value"`
			Bytes hexutil.Bytes `json:"bytes"`
			By    Key           `json:"by"`
			ID    common.Hash   `json:"id"`
		}{r.name, sharedOf(r.value), r.value.encode(), alice, r.value.id(alice)})
	}
	all.Story = tell(t)
	text := new(bytes.Buffer)
	encoder := json.NewEncoder(text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	require.NoError(t, encoder.Encode(all))
	require.NoError(t, os.WriteFile(sharedFile("go"), text.Bytes(), 0o644))
}

// tell makes a story, with secrets of its own.
func tell(t *testing.T) sharedStory {
	key, err := crypto.ToECDSA(bytes.Repeat([]byte{0xa1}, 32))
	require.NoError(t, err)
	alice, bob := vectorKeys(t)
	book, err := OpenBook(t.Context(), new(client.MemoryStore), key)
	require.NoError(t, err)
	id, err := book.Found(t.Context(), "choir")
	require.NoError(t, err)
	now := time.Now()
	var letters []sharedLetter
	change := func(c Change) {
		require.NoError(t, book.alter(t.Context(), id, func(s *state) error {
			s.Intent = c
			return s.amend(id, book.me, now)
		}))
		letters = nil
		owed := book.owed(16)
		for _, l := range owed {
			if l.to == bob && len(l.places) > 0 {
				letters = append(letters, sharedLetter{l.places[0].topic[:], alice, l.body, now.UnixMilli()})
			}
		}
		require.NoError(t, book.sent(t.Context(), owed))
	}
	change(Change{Add: []Member{{bob, false}}})
	invitation, err := book.Invite(id, bob)
	require.NoError(t, err)
	change(Change{Name: "second choir", Add: []Member{{bob, true}}})
	at, f, err := book.writing(id)
	require.NoError(t, err)
	ring, ok := book.ringOf(id, bob)
	require.True(t, ok)
	say := func(kind uint64, topic whisper.Topic, to []byte, words string) sharedMessage {
		m := f
		m.Kind, m.To, m.Body, m.ID = kind, to, []byte(words), crypto.Keccak256Hash([]byte(words))
		l := sharedLetter{topic[:], alice, m.encode(), now.UnixMilli()}
		return sharedMessage{l, words, messageID(id, alice, m.ID), kind == kindMention}
	}
	info, err := book.Group(id)
	require.NoError(t, err)
	b := bytes.Repeat([]byte{0xb0}, 32)
	return sharedStory{
		Key: slices.Clone(b), From: alice, Invitation: invitation, Letters: letters, Group: id, Name: info.Name, Epoch: info.Epoch, Members: shared(info.Members),
		Messages: []sharedMessage{say(kindMessage, at.topic, nil, "Who comes on Friday?"), say(kindMention, ring.topic, bob[:], "@Bob, will you sing?")},
	}
}
