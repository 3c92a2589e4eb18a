package vectors

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/whisper"
)

// inboxVectors are what an inbox decides, which links it reads, what its chats are called, and
// what becomes of it step by step.
type inboxVectors struct {
	// Decisions are the table: for each state of attention what becomes of a message, by what is
	// known of it: bit 0 read, 1 own, 2 muted, 3 blocked, 4 lost, 5 news. A digit is the manner; r: it is read.
	Decisions [4]string      `json:"decisions"`
	Links     []linkVector   `json:"links"`
	Chats     []chatVector   `json:"chats"`
	Histories []inboxHistory `json:"histories"`
}

type linkVector struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"` // foreign or malformed
	Link  string `json:"link,omitempty"`  // in its one form
}

type chatVector struct {
	Name     string        `json:"name"`
	Topic    hexutil.Bytes `json:"topic"`
	Key      hexutil.Bytes `json:"key,omitempty"`
	Identity hexutil.Bytes `json:"identity,omitempty"` // private
	ID       string        `json:"id"`
}

func (v *chatVector) chat(t *testing.T) client.Chat {
	c := client.Chat{Name: v.Name, Topic: whisper.Topic(v.Topic), Key: v.Key}
	if len(v.Identity) > 0 {
		key, err := crypto.ToECDSA(v.Identity)
		require.NoError(t, err)
		c.Identity = key
	}
	return c
}

// inboxHistory is what happened to an inbox, and what came of each of it.
type inboxHistory struct {
	Name  string        `json:"name"`
	Chats []chatVector  `json:"chats"`
	Own   hexutil.Bytes `json:"own"` // private
	Sync  *chatVector   `json:"sync,omitempty"`
	Steps []inboxStep   `json:"steps"`
}

// inboxStep is one thing that happens, by the field that is set.
type inboxStep struct {
	Event      *eventVector  `json:"event,omitempty"` // the history brings it
	Attend     *int          `json:"attend,omitempty"`
	Open       *string       `json:"open,omitempty"` // a chat; empty: none
	Read       []common.Hash `json:"read,omitempty"`
	ReadChat   string        `json:"readChat,omitempty"`
	Sent       []common.Hash `json:"sent,omitempty"`
	Delete     []common.Hash `json:"delete,omitempty"`
	DeleteChat string        `json:"deleteChat,omitempty"`
	Mute       string        `json:"mute,omitempty"`
	Until      int64         `json:"until,omitempty"` // of Mute, Unix seconds; 0: it ends
	Block      hexutil.Bytes `json:"block,omitempty"`
	Unblock    hexutil.Bytes `json:"unblock,omitempty"`
	Chats      []chatVector  `json:"chats,omitempty"`
	Action     *actionVector `json:"action,omitempty"`
	Reshow     bool          `json:"reshow,omitempty"`
	Refresh    bool          `json:"refresh,omitempty"`
	Flush      bool          `json:"flush,omitempty"`
	Reopen     bool          `json:"reopen,omitempty"`
	Broken     *bool         `json:"broken,omitempty"` // the platform shows nothing from now on, or does again
	Link       string        `json:"link,omitempty"`

	Want inboxWant `json:"want"`
}

type eventVector struct {
	Previews  []previewVector `json:"previews,omitempty"`
	Dismissed []common.Hash   `json:"dismissed,omitempty"`
	Unopened  []hexutil.Bytes `json:"unopened,omitempty"`
	Copies    []client.Copy   `json:"copies,omitempty"`
}

type previewVector struct {
	Chat    string        `json:"chat"` // its ID
	Sender  hexutil.Bytes `json:"sender,omitempty"`
	Payload hexutil.Bytes `json:"payload"`
	Sent    int64         `json:"sent"` // Unix milliseconds
	Claimed bool          `json:"claimed,omitempty"`
	Hash    common.Hash   `json:"hash"`
	Message common.Hash   `json:"message"`
	Read    bool          `json:"read,omitempty"`
}

type actionVector struct {
	ID      string      `json:"id"`
	Kind    string      `json:"kind"`
	Message common.Hash `json:"message"`
	Text    string      `json:"text,omitempty"`
	Until   int64       `json:"until,omitempty"`
}

// inboxWant is what came of a step: what the platform was told, in this order, what the
// device was, and what there is behind it.
type inboxWant struct {
	Error    string                    `json:"error,omitempty"`
	Shown    []shownVector             `json:"shown,omitempty"`
	Removed  []common.Hash             `json:"removed,omitempty"` // sorted
	Badge    *int                      `json:"badge,omitempty"`   // if it was set
	Has      []common.Hash             `json:"has,omitempty"`     // the device was told: the app has them. Sorted
	Seen     []common.Hash             `json:"seen,omitempty"`    // the server was told
	Posted   int                       `json:"posted,omitempty"`
	Muted    *[]string                 `json:"muted,omitempty"` // chats, if the device was told of all
	Unread   int                       `json:"unread"`
	Chats    []inboxChat               `json:"chats"`
	Messages map[string][]inboxMessage `json:"messages"`
	Outgoing int                       `json:"outgoing,omitempty"`
	Failures int                       `json:"failures,omitempty"`
	Counts   [4]uint64                 `json:"counts"` // unopened, never, all, evicted
	Target   string                    `json:"target,omitempty"`
}

type shownVector struct {
	ID     common.Hash `json:"id"`
	Manner int         `json:"manner"`
	Title  string      `json:"title"`
	Text   string      `json:"text"`
	Link   string      `json:"link"`
	Unread int         `json:"unread"`
}

type inboxChat struct {
	ID       string `json:"id"`
	Messages int    `json:"messages"`
	Unread   int    `json:"unread"`
	Muted    bool   `json:"muted,omitempty"`
}

type inboxMessage struct {
	Hash    common.Hash   `json:"hash"`
	Sender  hexutil.Bytes `json:"sender,omitempty"`
	Read    bool          `json:"read,omitempty"`
	Own     bool          `json:"own,omitempty"`
	Blocked bool          `json:"blocked,omitempty"`
	Shown   bool          `json:"shown,omitempty"`
}

// inboxBed is the device and the platform of an inbox, which note what they are told.
type inboxBed struct {
	t      *testing.T
	chats  []client.Chat
	next   client.Event
	broken bool
	want   *inboxWant
}

func (b *inboxBed) Receive(context.Context, []byte) (client.Event, error) { panic("unused") }

func (b *inboxBed) History(context.Context) (client.Event, error) {
	event := b.next
	b.next = client.Event{}
	return event, nil
}

func (b *inboxBed) Fetch(context.Context, []common.Hash) (client.Event, error) { panic("unused") }

func (b *inboxBed) Shown(_ context.Context, hashes ...common.Hash) error {
	b.want.Has = append(b.want.Has, hashes...)
	slices.SortFunc(b.want.Has, common.Hash.Cmp)
	return nil
}

func (b *inboxBed) Seen(_ context.Context, hashes []common.Hash) error {
	b.want.Seen = append(b.want.Seen, hashes...)
	return nil
}

func (b *inboxBed) Post(_ context.Context, sealed *whisper.Envelope, _ bool) (common.Hash, error) {
	b.want.Posted++
	return sealed.Message(), nil // an envelope's hash is the sender's, and here that of its content
}

func (b *inboxBed) ReadElsewhere(...common.Hash) []common.Hash { return nil }
func (b *inboxBed) Chats() []client.Chat                       { return b.chats }

func (b *inboxBed) SetChats(_ context.Context, chats []client.Chat) error {
	muted := []string{}
	for i := range chats {
		if !chats[i].MutedUntil.IsZero() {
			muted = append(muted, chats[i].ID().String())
		}
	}
	b.want.Muted = &muted
	return nil
}

func (b *inboxBed) Doubt(...whisper.Topic) {}

func (b *inboxBed) Show(n inbox.Notification) error {
	if b.broken {
		return errors.New("the platform is broken")
	}
	b.want.Shown = append(b.want.Shown, shownVector{n.ID, int(n.Manner), n.Title, n.Text, n.Link, n.Unread})
	return nil
}

func (b *inboxBed) Remove(id common.Hash) error {
	b.want.Removed = append(b.want.Removed, id)
	slices.SortFunc(b.want.Removed, common.Hash.Cmp)
	return nil
}

func (b *inboxBed) SetBadge(n int) error {
	b.want.Badge = &n
	return nil
}

// run does all steps, and says what came of them.
func (h *inboxHistory) run(t *testing.T) (all []inboxWant) {
	ctx := t.Context()
	bed := &inboxBed{t: t, want: new(inboxWant)}
	for i := range h.Chats {
		bed.chats = append(bed.chats, h.Chats[i].chat(t))
	}
	config := inbox.Config{File: filepath.Join(t.TempDir(), "inbox"), Device: bed, App: bed}
	own, err := crypto.ToECDSA(h.Own)
	require.NoError(t, err)
	config.Own = append(config.Own, own)
	if h.Sync != nil {
		sync := h.Sync.chat(t)
		config.Sync = &sync
		bed.chats = append(bed.chats, sync)
	}
	i, err := inbox.Open(ctx, config)
	require.NoError(t, err)
	for at := range h.Steps {
		step := &h.Steps[at]
		bed.want = new(inboxWant)
		if step.Reopen {
			require.NoError(t, i.Close())
			i, err = inbox.Open(ctx, config)
			require.NoError(t, err)
		} else {
			err = step.do(t, i, bed)
		}
		want := bed.want
		want.Error = inboxError(err)
		want.Unread = i.Unread()
		want.Messages = map[string][]inboxMessage{}
		for _, c := range i.Chats() {
			want.Chats = append(want.Chats, inboxChat{c.ID.String(), c.Messages, c.Unread, !c.MutedUntil.IsZero()})
			for _, m := range i.Messages(c.ID) {
				want.Messages[c.ID.String()] = append(want.Messages[c.ID.String()], inboxMessage{m.Hash, m.Sender, m.Read, m.Own, m.Blocked, m.Shown})
			}
		}
		want.Outgoing, want.Failures = len(i.Outgoing()), len(i.Failures())
		counts := i.Counts()
		want.Counts = [4]uint64{uint64(counts.Unopened), counts.Never, counts.All, counts.Evicted}
		all = append(all, *want)
	}
	require.NoError(t, i.Close())
	return all
}

func inboxError(err error) string {
	for name, is := range map[string]error{
		"malformed": inbox.ErrLinkMalformed, "foreign": inbox.ErrLinkForeign, "unknown": inbox.ErrLinkUnknown, "expired": inbox.ErrLinkExpired,
		"action": inbox.ErrAction, "full": inbox.ErrFull,
	} {
		if errors.Is(err, is) {
			return name
		}
	}
	if err != nil {
		return "other"
	}
	return ""
}

func (s *inboxStep) do(t *testing.T, i *inbox.Inbox, bed *inboxBed) error {
	ctx := t.Context()
	of := func(id string) client.ChatID {
		b, err := hexutil.Decode(strings.Replace(id, ".", "", 1))
		require.NoError(t, err)
		return client.ChatID(b)
	}
	at := func(seconds int64) (until time.Time) {
		if seconds != 0 {
			until = time.Unix(seconds, 0)
		}
		return until
	}
	switch {
	case s.Event != nil:
		bed.next = s.Event.event(t, of)
		return i.History(ctx)
	case s.Attend != nil:
		return []func(context.Context) error{i.ScreenOff, i.Background, i.Foreground}[*s.Attend](ctx)
	case s.Open != nil && *s.Open == "":
		return i.ChatClosed(ctx)
	case s.Open != nil:
		return i.ChatOpened(ctx, of(*s.Open))
	case s.Read != nil:
		return i.Read(ctx, s.Read...)
	case s.ReadChat != "":
		return i.ReadChat(ctx, of(s.ReadChat))
	case s.Sent != nil:
		return i.Sent(ctx, s.Sent...)
	case s.Delete != nil:
		return i.Delete(ctx, s.Delete...)
	case s.DeleteChat != "":
		return i.DeleteChat(ctx, of(s.DeleteChat))
	case s.Mute != "":
		return i.Mute(ctx, of(s.Mute), at(s.Until))
	case len(s.Block)+len(s.Unblock) > 0:
		key, err := crypto.DecompressPubkey(slices.Concat(s.Block, s.Unblock))
		require.NoError(t, err)
		if len(s.Block) > 0 {
			return i.Block(ctx, key)
		}
		return i.Unblock(ctx, key)
	case s.Chats != nil:
		var chats []client.Chat
		for at := range s.Chats {
			chats = append(chats, s.Chats[at].chat(t))
		}
		bed.chats = chats
		return i.SetChats(ctx, chats)
	case s.Action != nil:
		kinds := map[string]inbox.ActionKind{"markRead": inbox.MarkRead, "markChatRead": inbox.MarkChatRead, "reply": inbox.Reply, "muteChat": inbox.MuteChat, "deleteMessage": inbox.DeleteMessage}
		return i.Do(ctx, inbox.Action{ID: s.Action.ID, Kind: kinds[s.Action.Kind], Message: s.Action.Message, Text: s.Action.Text, Until: at(s.Action.Until)})
	case s.Reshow:
		return i.Reshow(ctx)
	case s.Refresh:
		return i.Refresh(ctx)
	case s.Flush:
		return i.Flush(ctx)
	case s.Broken != nil:
		bed.broken = *s.Broken
		return nil
	case s.Link != "":
		target, err := i.Resolve(s.Link)
		if err == nil {
			bed.want.Target = target.Chat.String()
			if target.HasMessage {
				bed.want.Target += "/" + target.Message.Hash.Hex()
			}
		}
		return err
	}
	t.Fatal("a step that does nothing")
	return nil
}

func (v *eventVector) event(t *testing.T, of func(string) client.ChatID) (event client.Event) {
	for _, p := range v.Previews {
		preview := client.Preview{
			ChatID: of(p.Chat), Topic: of(p.Chat).Topic(), Payload: p.Payload, Text: client.Printable(p.Payload), Sent: time.UnixMilli(p.Sent), Claimed: p.Claimed,
			Hash: p.Hash, Message: p.Message, Read: p.Read,
		}
		if len(p.Sender) > 0 {
			key, err := crypto.DecompressPubkey(p.Sender)
			require.NoError(t, err)
			preview.Sender = key
		}
		event.Previews = append(event.Previews, preview)
	}
	for _, raw := range v.Unopened {
		e, err := whisper.DecodeEnvelope(raw)
		require.NoError(t, err)
		event.Unopened = append(event.Unopened, client.Unopened{Envelope: e})
	}
	event.Dismissed, event.Copies = v.Dismissed, v.Copies
	return event
}

// TestInboxVectors holds the Go inbox to what is written, and with -update writes it anew.
func TestInboxVectors(t *testing.T) {
	if *update {
		v := inboxVectors{Decisions: decisions(), Links: links(), Chats: inboxChats(), Histories: inboxHistories(t)}
		for h := range v.Histories {
			for at, want := range v.Histories[h].run(t) {
				v.Histories[h].Steps[at].Want = want
			}
		}
		write(t, "inbox.json", v)
	}
	v := read[inboxVectors](t, "go", "inbox.json")
	require.Equal(t, decisions(), v.Decisions)
	require.Equal(t, links(), v.Links)
	for i := range v.Chats {
		chat := v.Chats[i].chat(t)
		require.Equal(t, v.Chats[i].ID, chat.ID().String(), v.Chats[i].Name)
	}
	require.GreaterOrEqual(t, len(v.Histories), 8)
	for _, h := range v.Histories {
		t.Run(h.Name, func(t *testing.T) {
			for at, got := range h.run(t) {
				want, err := json.Marshal(h.Steps[at].Want)
				require.NoError(t, err)
				have, err := json.Marshal(got)
				require.NoError(t, err)
				require.JSONEq(t, string(want), string(have), "step %d", at)
			}
		})
	}
}

// What other devices of the user are told is read, whoever wrote it.
func TestInboxSyncOfTypeScript(t *testing.T) {
	histories := read[struct {
		Histories []inboxHistory `json:"histories"`
	}](t, "typescript", "inbox.json").Histories
	require.NotEmpty(t, histories)
	for _, h := range histories {
		got := h.run(t)
		for at := range got {
			want, err := json.Marshal(h.Steps[at].Want)
			require.NoError(t, err)
			have, err := json.Marshal(got[at])
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(have), "%s, step %d", h.Name, at)
		}
	}
}
