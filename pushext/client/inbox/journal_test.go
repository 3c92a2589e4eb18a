package inbox

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

var fixed = time.Unix(1_800_000_000, 0)

// bare is an inbox of which only the file is used.
func bare(s storage) *Inbox {
	return &Inbox{journal: journal{storage: s}, model: newModel(), logger: discard()}
}

// content is what a model amounts to.
func (m *model) content() string {
	return crypto.Keccak256Hash(bytes.Join(m.records(), nil)).String()
}

func hashOf(n int) common.Hash { return crypto.Keccak256Hash(fmt.Appendf(nil, "hash %d", n)) }

func messageOf(n int, chat client.ChatID, size int) *messageRecord {
	return &messageRecord{
		Hash: hashOf(n), Message: hashOf(-n), Chat: chat, Sender: bytes.Repeat([]byte{2}, 33),
		Payload: bytes.Repeat([]byte{byte(n)}, size), Text: fmt.Sprint(n), Sent: uint64(n), Came: uint64(n),
	}
}

// everyKind makes changes in which every kind of record is.
func everyKind(t *testing.T) [][]record {
	t.Helper()
	one, two := client.ChatID{1}, client.ChatID{2}
	closed, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("closed"), Key: make([]byte, 32), Now: fixed})
	require.NoError(t, err)
	other, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("other"), Key: make([]byte, 32), Now: fixed})
	require.NoError(t, err)
	sender := string(bytes.Repeat([]byte{2}, 33))
	return [][]record{
		{&deviceRecord{7}},
		{messageOf(1, one, 10), messageOf(2, one, 20), messageOf(3, two, 700)},
		{&displayRecord{[]common.Hash{hashOf(1), hashOf(2), hashOf(3)}, maybeDisplayed}},
		{&displayRecord{[]common.Hash{hashOf(1), hashOf(2)}, displayed}},
		{&readRecord{[]common.Hash{hashOf(1), hashOf(9)}, true}},
		{&readRecord{Hashes: []common.Hash{hashOf(8)}}, &readMessagesRecord{[]mark{markOf(hashOf(-3)), {5, 5, 5, 5, 5, 5, 5, 5}}}},
		{&copyRecord{hashOf(100), hashOf(-1)}, &copyRecord{hashOf(101), hashOf(-2)}},
		{&unopenedRecord{5, closed.Raw()}, &unopenedRecord{6, other.Raw()}},
		{&openedRecord{other.Hash()}},
		{&muteRecord{one, 1 << 40, stamp{5, 7}, true}, &muteRecord{two, 0, stamp{6, 7}, false}},
		{&blockRecord{[]byte(sender), true, stamp{7, 7}, true}},
		{&draftRecord{ID: "a", Chat: one, Payload: []byte("hello"), Written: 9}, &actionRecord{"a"}},
		{&draftRecord{ID: "b", Chat: two, Payload: []byte("there"), Written: 9}},
		{&sealedRecord{"a", closed.Raw()}},
		{&postedRecord{ID: "b", Failure: "no"}},
		{&goneRecord{[]common.Hash{hashOf(2)}}},
		{&toldRecord{[]common.Hash{hashOf(1)}}, &syncedRecord{[]mark{markOf(hashOf(-1))}, []stamp{{5, 7}}}},
		{&channelsRecord{Told: true}},
		{&countsRecord{4, 3, 2}},
	}
}

// write makes changes, and returns the size of the file and the content after each.
func write(t *testing.T, i *Inbox, d *disk, changes [][]record) (sizes []int, contents []string) {
	t.Helper()
	for _, c := range changes {
		require.NoError(t, i.change(t.Context(), func(tx *change) error {
			for _, r := range c {
				tx.add(r)
			}
			return nil
		}))
		sizes, contents = append(sizes, len(d.b)), append(contents, i.model.content())
	}
	return sizes, contents
}

func read(t *testing.T, s storage) *Inbox {
	t.Helper()
	i := bare(s)
	require.NoError(t, i.change(t.Context(), func(*change) error { return nil }))
	return i
}

// A crash at any byte, with zeros or noise where the rest should be, leaves the last
// change that was complete, and the file goes on from there.
func TestTornAtEveryByte(t *testing.T) {
	d := new(disk)
	i := bare(d)
	sizes, contents := write(t, i, d, everyKind(t))
	whole := bytes.Clone(d.b)
	noise := make([]byte, 300)
	random := rand.New(rand.NewPCG(1, 2))
	for at := range noise {
		noise[at] = byte(random.Uint32())
	}
	empty := read(t, new(disk)).model.content()
	for cut := range len(whole) + 1 {
		want := empty
		for at, size := range sizes {
			if size <= cut {
				want = contents[at]
			}
		}
		for _, tail := range [][]byte{nil, make([]byte, 5), make([]byte, 300), noise[:7], noise} {
			if cut < headerSize && tail != nil {
				continue // the header comes with a rename
			}
			torn := &disk{b: slices.Concat(whole[:cut], tail)}
			again := read(t, torn)
			require.Equal(t, want, again.model.content(), "cut at %d of %d", cut, len(whole))
			require.Zero(t, again.journal.lost)
			if len(tail) != 5 && cut%5 != 0 {
				continue
			}
			write(t, again, torn, [][]record{{messageOf(50, client.ChatID{3}, 30)}})
			require.Equal(t, again.model.content(), read(t, torn).model.content())
		}
	}
}

// One byte that went bad costs the change it is in. The damaged file is kept aside,
// and the next change leaves a good one.
func TestFlippedByte(t *testing.T) {
	d := new(disk)
	changes := everyKind(t)
	write(t, bare(d), d, changes)
	whole := bytes.Clone(d.b)
	for at := range whole {
		bad := &disk{b: bytes.Clone(whole)}
		bad.b[at] ^= 0x40
		i := bare(bad)
		err := i.change(t.Context(), func(*change) error { return nil })
		switch {
		case at < len(magicName):
			require.ErrorIs(t, err, ErrForeign)
			continue
		case at < len(magic):
			require.ErrorIs(t, err, ErrLater)
			continue
		}
		require.NoError(t, err)
		if at < headerSize || bad.kept == nil { // the generation; or the last change
			continue
		}
		require.Equal(t, byte(0x40), bad.kept[at]^whole[at])
		require.Equal(t, i.model.content(), read(t, bad).model.content())
		require.Zero(t, read(t, bad).journal.lost, "it was written anew")
	}
}

// A change that does not fit on the disk did not happen, and the next one does when
// there is room.
func TestFullDisk(t *testing.T) {
	changes := everyKind(t)
	d := new(disk)
	sizes, contents := write(t, bare(d), d, changes)
	for limit := headerSize; limit < len(d.b); limit += 3 {
		full := new(disk)
		i := bare(full)
		require.NoError(t, i.change(t.Context(), func(*change) error { return nil }))
		full.limit = limit
		for at, c := range changes {
			add := func(tx *change) error {
				for _, r := range c {
					tx.add(r)
				}
				return nil
			}
			err := i.change(t.Context(), add)
			if full.limit > 0 && sizes[at] > limit {
				require.ErrorIs(t, err, errFull)
				if at > 0 {
					require.NoError(t, i.change(t.Context(), func(*change) error { return nil }))
					require.Equal(t, contents[at-1], i.model.content())
				}
				full.limit = 0
				err = i.change(t.Context(), add)
			}
			require.NoError(t, err)
			require.Equal(t, contents[at], i.model.content())
		}
	}
}

// Files of others are refused in words, and left alone.
func TestForeignFile(t *testing.T) {
	for content, want := range map[string]error{
		`{"format":2,"accounts":{}}`:             ErrForeign,
		"SQLite format 3\x00":                    ErrForeign,
		"whisperpush inbox 2\n0123456789abcdef":  ErrLater,
		"whisperpush inbox 10\n0123456789abcdef": ErrLater,
		strings.Repeat("\x00", 100):              ErrForeign,
	} {
		name := filepath.Join(t.TempDir(), "inbox")
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		err := Queue(t.Context(), name, Action{ID: "1", Kind: MarkRead})
		require.ErrorIs(t, err, want)
		after, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, content, string(after))
	}
	// A record of a later version, in a file of this one.
	d := new(disk)
	write(t, bare(d), d, [][]record{{&deviceRecord{7}}})
	d.b = append(d.b, framed([][]byte{{0xc2, 0x7f, 0xc0}})...)
	err := bare(d).change(t.Context(), func(*change) error { return nil })
	require.ErrorIs(t, err, ErrLater)
	require.ErrorContains(t, err, "kind 127")
}

// What is out of date does not fill the disk, and what was written again is the same.
func TestWrittenAnew(t *testing.T) {
	d := new(disk)
	i := bare(d)
	largest := 0
	for n := range 1200 {
		write(t, i, d, [][]record{
			{messageOf(n, client.ChatID{byte(n % 3)}, 200)},
			{&readRecord{[]common.Hash{hashOf(n)}, true}},
			{&goneRecord{[]common.Hash{hashOf(n - 20)}}, &toldRecord{[]common.Hash{hashOf(n)}}},
		})
		largest = max(largest, len(d.b))
		if n%500 == 0 {
			require.Equal(t, i.model.content(), read(t, d).model.content())
		}
	}
	require.Less(t, largest, 300<<10, "of half a megabyte that was written")
}

// Two processes see each other's changes, also if one has written the file anew.
func TestTwoProcesses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "inbox")
	one, two := bare(file(name)), bare(file(name))
	for n := range 40 {
		for at, i := range []*Inbox{one, two} {
			require.NoError(t, i.change(context.Background(), func(tx *change) error {
				tx.add(messageOf(2*n+at, client.ChatID{1}, 4000))
				tx.add(&goneRecord{[]common.Hash{hashOf(2*n + at - 3)}})
				return nil
			}))
		}
	}
	require.NoError(t, one.change(t.Context(), func(*change) error { return nil }))
	require.Equal(t, two.model.content(), one.model.content())
	require.Len(t, one.model.entries, 3)
	require.Equal(t, one.model.content(), read(t, file(name)).model.content())
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Less(t, info.Size(), int64(200<<10))
}

// A disk that refuses what is written is told in words, with the name of the file.
func TestUnwritableFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "missing", "inbox")
	err := bare(file(name)).change(t.Context(), func(*change) error { return nil })
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, name)
}

// The limits hold, and what was read goes first.
func TestLimits(t *testing.T) {
	m := newModel()
	chat := client.ChatID{1}
	for n := range MaxChatMessages + 10 {
		messageOf(n, chat, 1).apply(m)
		if n < 5 {
			(&readRecord{Hashes: []common.Hash{hashOf(n + 2)}}).apply(m) // early, but for the first
		}
	}
	require.Len(t, m.chats[chat].entries, MaxChatMessages)
	for n := range 2 {
		require.Nil(t, m.find(hashOf(n)), "unread, and the oldest when nothing read is left")
	}
	for n := 2; n < 7; n++ {
		require.Nil(t, m.find(hashOf(n)), "read, so it went first")
	}
	require.NotNil(t, m.find(hashOf(20)))
	for n := range 600 {
		messageOf(10_000+n, client.ChatID{2}, MaxPayload).apply(m)
	}
	require.LessOrEqual(t, m.bytes, MaxBytes)
	total := newModel()
	for n := range MaxMessages + 100 {
		messageOf(n, client.ChatID{byte(n), byte(n >> 8 & 7)}, 1).apply(total)
	}
	require.Len(t, total.entries, MaxMessages)
	require.Len(t, total.message, MaxMessages)
	require.LessOrEqual(t, len(total.byAge), 2*MaxMessages+64)
	for n := range MaxUnopened + MaxTopicUnopened {
		e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte{byte(n)}, Topic: whisper.Topic{byte(n % 11)}, Key: make([]byte, 32)})
		require.NoError(t, err)
		(&unopenedRecord{1, e.Raw()}).apply(total)
		e, err = whisper.Seal(t.Context(), whisper.Draft{Payload: []byte{byte(n)}, Topic: whisper.Topic{99}, Key: make([]byte, 32)})
		require.NoError(t, err)
		(&unopenedRecord{1, e.Raw()}).apply(total)
	}
	of := 0
	for _, u := range total.unopened {
		if u.Topic == (whisper.Topic{99}) {
			of++
		}
	}
	require.Equal(t, MaxTopicUnopened, of, "one topic does not push out the others")
	require.Len(t, total.unopened, MaxUnopened)
	require.Equal(t, total.counts.Unopened-uint64(MaxUnopened), total.counts.Dropped)
}

// Whatever a file holds, it is read or refused in words.
func FuzzFile(f *testing.F) {
	d := new(disk)
	i := bare(d)
	_ = i.change(context.Background(), func(tx *change) error {
		tx.add(&deviceRecord{7})
		tx.add(messageOf(1, client.ChatID{1}, 10))
		tx.add(&readRecord{[]common.Hash{hashOf(1)}, true})
		return nil
	})
	f.Add(d.b)
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		i := bare(&disk{b: bytes.Clone(b)})
		if i.change(t.Context(), func(tx *change) error {
			tx.add(messageOf(2, client.ChatID{1}, 10))
			return nil
		}) != nil {
			return
		}
		again := bare(&disk{b: bytes.Clone(i.journal.storage.(*disk).b)})
		if err := again.change(t.Context(), func(*change) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if i.model.content() != again.model.content() {
			t.Fatal("another content after it was read again")
		}
	})
}

// Whatever the records, a frame of them is read or refused.
func FuzzRecords(f *testing.F) {
	f.Add(encodeRecord(messageOf(1, client.ChatID{1}, 10)))
	f.Add(encodeRecord(&muteRecord{client.ChatID{1}, 5, stamp{1, 2}, true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newModel()
		_ = decodeRecords(b, func(r record) { r.apply(m) })
		m.records()
	})
}
