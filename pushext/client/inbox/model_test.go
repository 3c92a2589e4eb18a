package inbox

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// cast are the chats and people of all histories, and messages that they wrote.
type cast struct {
	bob, alice, carol *ecdsa.PrivateKey
	family, work      client.Chat
	decoy, late       client.Chat // of one topic; the key of late comes later
	sync              client.Chat
	letters           []*whisper.Envelope
}

// castOnce makes the cast: signatures take their time.
var castOnce = sync.OnceValue(func() *cast {
	key := func(n byte) *ecdsa.PrivateKey {
		k, err := crypto.ToECDSA(slices.Repeat([]byte{n}, 32))
		if err != nil {
			panic(err)
		}
		return k
	}
	chat := func(name string, topic byte) client.Chat {
		return client.Chat{Name: name, Topic: whisper.Topic{topic}, Key: crypto.Keccak256([]byte(name))}
	}
	c := &cast{
		bob: key(1), alice: key(2), carol: key(3),
		family: chat("family", 1), work: chat("work", 2), decoy: chat("decoy", 3), late: chat("late", 3), sync: chat("sync", 4),
	}
	for _, chat := range []client.Chat{c.family, c.work, c.decoy, c.late, c.sync} {
		chatIDs[chat.Name] = chat.ID()
	}
	for n := range 48 {
		of := []client.Chat{c.family, c.work, c.late, c.family}[n%4]
		from := []*ecdsa.PrivateKey{c.alice, c.carol, c.alice, c.carol, c.alice, c.bob}[n%6]
		e, err := whisper.Seal(context.Background(), client.Compose(of, fmt.Appendf(nil, "letter %d", n), from, time.Unix(946684800, 0)))
		if err != nil {
			panic(err)
		}
		c.letters = append(c.letters, e)
		openings[opening{e.Message(), of.ID()}] = client.Unopened{Envelope: e}.Open([]client.Chat{of})
		for _, other := range []client.Chat{c.decoy, c.late} {
			if _, known := openings[opening{e.Message(), other.ID()}]; !known {
				openings[opening{e.Message(), other.ID()}] = nil
			}
		}
	}
	return c
})

func (c *cast) chats(late bool) []client.Chat {
	chats := []client.Chat{c.family, c.work, c.decoy, c.sync}
	if late {
		chats = append(chats, c.late)
	}
	return chats
}

// history is what happened to the phones of one person.
type history struct {
	*cast
	*simWorld
	t        require.TestingT
	next     int                  // of letters
	read     map[common.Hash]bool // messages that the user has read, and knows that it was kept
	maybe    map[common.Hash]bool // messages that they may have read
	replies  map[string]bool
	restored bool
	again    []bool // phones on which something may sound again
	crashes  []int
	trace    []string
}

func newHistory(t require.TestingT, phones int) *history {
	h := &history{
		cast: castOnce(), simWorld: &simWorld{opened: make(map[opening]*client.Preview), messages: make(map[*whisper.Envelope]common.Hash)}, t: t,
		read: make(map[common.Hash]bool), maybe: make(map[common.Hash]bool), replies: make(map[string]bool),
		again: make([]bool, phones), crashes: make([]int, phones),
	}
	for id := range phones {
		p := &simPhone{
			w: h.simWorld, id: id, woken: make(map[common.Hash]bool), early: make(map[common.Hash]bool),
			channels: make(map[whisper.Topic]int64), listens: make(map[whisper.Topic]bool),
			state: deviceState{known: make(map[mark]bool), elsewhere: make(map[mark]bool)},
			tray:  make(map[common.Hash]Notification), loud: make(map[common.Hash]int),
			chats: h.chats(id == 1), lister: id == 1, ios: id == 0,
		}
		for _, c := range p.chats {
			p.listens[c.Topic] = true
		}
		p.disk = new(disk)
		h.phones = append(h.phones, p)
		h.start(p)
	}
	return h
}

// start starts the app of a phone.
func (h *history) start(p *simPhone) {
	p.dead, p.given = false, make(map[common.Hash]bool)
	p.disk.step = func() (int, bool) {
		if err := p.step(); err != nil {
			return p.torn, false
		}
		return 0, true
	}
	var app App = p
	if p.lister {
		app = simLister{p}
	}
	i, err := Open(context.Background(), Config{
		Device: p, App: app, Own: []*ecdsa.PrivateKey{h.bob}, Sync: &h.cast.sync, storage: p.disk,
	})
	if p.dead {
		h.stopped(p)
		return
	}
	if errors.Is(err, errFull) {
		return
	}
	require.NoError(h.t, err)
	p.inbox = i
	h.reshow(p)
}

// reshow is what an app does when its notifications were lost.
func (h *history) reshow(p *simPhone) {
	if p.lost {
		err := p.inbox.Reshow(context.Background())
		p.lost = err != nil
		h.did(p, err)
	}
}

// stopped is the end of a process.
func (h *history) stopped(p *simPhone) {
	p.inbox, p.dead, p.left = nil, true, 0
	h.crashes[p.id]++
}

// did takes note of how a call ended.
func (h *history) did(p *simPhone, err error) {
	if p.dead {
		h.stopped(p)
		return
	}
	if err != nil && !errors.Is(err, errFull) {
		gaveUp := new(client.GaveUpError)
		require.ErrorAs(h.t, err, &gaveUp, "what fails is the network")
	}
}

type operation struct{ kind, phone, a, b int }

func (o operation) String() string { return fmt.Sprintf("%d(%d,%d,%d)", o.kind, o.phone, o.a, o.b) }

// below draws each of the numbers below n alike, as rapid.IntRange does not.
func below(n int) *rapid.Generator[int] {
	numbers := make([]int, n)
	for at := range numbers {
		numbers[at] = at
	}
	return rapid.SampledFrom(numbers)
}

var operations = func() *rapid.Generator[operation] {
	kind, phone, a, b := below(100), below(3), below(12), below(1000)
	return rapid.Custom(func(t *rapid.T) operation {
		return operation{kind.Draw(t, "kind"), phone.Draw(t, "phone"), a.Draw(t, "a"), b.Draw(t, "b")}
	})
}()

// scripts are of some dozens of operations, and shrink to those that matter.
var scripts = rapid.Custom(func(t *rapid.T) []operation {
	var script []operation
	for part := range 12 {
		script = append(script, rapid.SliceOf(operations).Draw(t, fmt.Sprint("part ", part))...)
	}
	return script
})

// do is one thing that happens.
func (h *history) do(o operation) {
	ctx := context.Background()
	p := h.phones[o.phone%len(h.phones)]
	time.Sleep(time.Millisecond)
	say := func(format string, args ...any) {
		h.trace = append(h.trace, fmt.Sprintf("phone %d: ", p.id)+fmt.Sprintf(format, args...))
		happened.Store(format, true)
	}
	switch k := o.kind; {
	case k < 16: // somebody writes
		e := h.letters[h.next%len(h.letters)]
		h.next++
		now, err := whisper.Renew(ctx, e, whisper.Draft{})
		require.NoError(h.t, err)
		h.post(now)
		say("somebody writes %q", h.textOf(e))
		return
	case k < 18: // somebody sends a message once more
		if h.next > 0 {
			e, err := whisper.Renew(ctx, h.letters[(h.next-1)%len(h.letters)], whisper.Draft{TTL: uint32(60 + o.a)})
			require.NoError(h.t, err)
			h.post(e)
			say("the last letter comes in another envelope")
		}
		return
	case k < 30: // a push arrives, of whatever phone and in whatever order, and perhaps again
		if len(h.pushes) == 0 {
			return
		}
		at := o.b % len(h.pushes)
		push := h.pushes[at]
		if o.a%4 != 0 {
			h.pushes = slices.Delete(h.pushes, at, at+1)
		}
		p = h.phones[push.to]
		if p.inbox == nil { // a push starts the process
			h.start(p)
		}
		if p.inbox != nil {
			say("a push of kind %d arrives", push.kind)
			err := p.inbox.Receive(ctx, encodePush(push))
			h.watched(p)
			h.did(p, err)
		}
		return
	case k < 33: // a push is lost
		if len(h.pushes) > 0 {
			at := o.b % len(h.pushes)
			h.pushes = slices.Delete(h.pushes, at, at+1)
			say("a push is lost")
		}
		return
	case k < 36: // the network comes and goes
		p.offline = !p.offline
		say("offline: %t", p.offline)
		return
	case k < 40: // the process will end
		p.left, p.torn = 1+o.b%12, o.b
		say("ends after %d steps", p.left)
		return
	case k < 41: // the disk is full, until it is not
		if p.disk.limit > 0 {
			p.disk.limit = 0
		} else {
			p.disk.limit = len(p.disk.b) + o.b
		}
		h.again[p.id] = h.again[p.id] || !p.lister // what could not be written of what sounded
		say("room on the disk: %d", p.disk.limit)
		return
	case k < 42: // somebody waits
		time.Sleep(time.Duration(o.b) * time.Second)
		say("%d seconds pass", o.b)
		return
	case k < 44:
		p.backups = append(p.backups, backup{slices.Clone(p.disk.b), p.state.clone()})
		say("is backed up")
		return
	case k < 46: // a backup is put back, perhaps on another phone: one without notifications
		if len(p.backups) > 0 {
			b := p.backups[o.b%len(p.backups)]
			p.disk.b, p.state = slices.Clone(b.disk), b.state.clone()
			clear(p.tray)
			p.inbox, p.left, h.restored, h.again[p.id] = nil, 0, true, true
			say("is restored")
			p.lost = true
			h.start(p)
		}
		return
	case k < 48: // a quick action while the app may not run
		if e := h.pick(p, o.b); e != nil {
			a := Action{ID: fmt.Sprint("action ", o.a), Kind: ActionKind(1 + o.a%5), Message: e.Hash, Text: fmt.Sprintf("reply %d of %d", o.a, p.id), Until: time.Now().Add(time.Hour)}
			before := p.disk.step
			p.disk.step, p.disk.limit = nil, 0
			known := h.modelOf(p)
			fresh := !known.actions.has(actionMark(a.ID))
			require.NoError(h.t, queue(ctx, p.disk, a))
			require.NoError(h.t, queue(ctx, p.disk, a), "twice")
			p.disk.step = before
			say("action %d on %q", a.Kind, e.Text)
			if fresh {
				switch a.Kind {
				case MarkRead, Reply, DeleteMessage:
					h.read[e.Message] = true
				case MarkChatRead:
					for _, e := range known.chats[e.Chat].entries {
						h.maybe[e.Message] = true
					}
				}
				if a.Kind == Reply {
					h.replies[a.Text] = true
				}
			}
		}
		return
	}
	if p.inbox == nil {
		h.start(p)
		say("starts")
	}
	if p.inbox == nil {
		return
	}
	i := p.inbox
	var err error
	chat := []client.Chat{h.family, h.work, h.late}[o.b%3].ID()
	switch k := o.kind; {
	case k < 54:
		say("asks for the history")
		err = i.History(ctx)
	case k < 60:
		say("flushes")
		err = i.Flush(ctx)
	case k < 68:
		if e := h.pick(p, o.b); e != nil {
			say("reads %q", e.Text)
			h.maybe[e.Message] = true
			if err = i.Read(ctx, e.Hash); err == nil {
				h.read[e.Message] = true
			}
		}
	case k < 71:
		say("reads chat %s", chat)
		for _, m := range i.Messages(chat) {
			h.maybe[m.Message] = true
		}
		err = i.ReadChat(ctx, chat)
	case k < 73:
		if e := h.pick(p, o.b); e != nil {
			say("deletes %q", e.Text)
			h.maybe[e.Message] = true
			err = i.Delete(ctx, e.Hash)
		}
	case k < 77:
		until := time.Now().Add(time.Duration(o.a-3) * time.Minute)
		if o.a < 4 {
			until = time.Time{}
		}
		say("mutes %s until %s", chat, until)
		err = i.Mute(ctx, chat, until)
	case k < 80:
		who := []*ecdsa.PrivateKey{h.alice, h.carol}[o.a%2]
		say("blocks %d: %t", o.a%2, o.b%3 == 0)
		if o.b%3 == 0 {
			err = i.Block(ctx, &who.PublicKey)
		} else {
			err = i.Unblock(ctx, &who.PublicKey)
		}
	case k < 83:
		say("opens chat %s", chat)
		err = i.ChatOpened(ctx, chat)
	case k < 85:
		err = i.ChatClosed(ctx)
	case k < 88:
		say("foreground")
		err = i.Foreground(ctx)
	case k < 90:
		err = i.Background(ctx)
	case k < 92:
		err = i.ScreenOff(ctx)
	case k < 94:
		say("has all keys")
		p.chats = h.chats(true)
		err = i.SetChats(ctx, p.chats)
	case k < 96:
		text := fmt.Sprintf("own %d of %d", len(h.trace), p.id)
		say("writes %q", text)
		if err = i.Send(ctx, h.family.ID(), []byte(text)); err == nil {
			h.replies[text] = true
		}
	case k < 97:
		say("the platform lost its notifications")
		clear(p.tray)
		h.again[p.id], p.lost = true, true
		h.reshow(p)
		return
	case k < 98:
		err = i.Refresh(ctx)
	default:
		say("ends well")
		require.NoError(h.t, i.Close())
		p.inbox = nil
		return
	}
	h.watched(p)
	h.did(p, err)
}

func (h *history) textOf(e *whisper.Envelope) string {
	if p := h.open(e, h.chats(true)); p != nil {
		return p.Text
	}
	return ""
}

// modelOf is what the file of a phone holds.
func (h *history) modelOf(p *simPhone) *model {
	i := bare(&disk{b: p.disk.b})
	require.NoError(h.t, i.change(context.Background(), func(*change) error { return nil }))
	return i.model
}

// pick is one of the messages on a phone, those of others first.
func (h *history) pick(p *simPhone, n int) *entry {
	m := h.modelOf(p)
	entries := slices.DeleteFunc(slices.Clone(m.byAge), func(e *entry) bool { return e.Own || m.entries[e.Hash] != e })
	if len(entries) == 0 {
		return nil
	}
	return entries[n%len(entries)]
}

// watched takes note of what the user has before their eyes.
func (h *history) watched(p *simPhone) {
	if p.inbox == nil || p.inbox.attentionFor(p.inbox.visible) != Watching {
		return
	}
	if c := p.inbox.model.chats[p.inbox.visible]; c != nil {
		for _, e := range c.entries {
			h.maybe[e.Message] = true
		}
	}
}

// settleDown is the end of all trouble: every phone has a network, and asks.
func (h *history) settleDown() {
	ctx := context.Background()
	for _, p := range h.phones {
		p.offline, p.left, p.disk.limit = false, 0, 0
		if p.inbox == nil {
			h.start(p)
		}
		h.reshow(p)
		require.NoError(h.t, p.inbox.Background(ctx))
		require.NoError(h.t, p.inbox.ChatClosed(ctx))
		p.chats = h.chats(true)
		require.NoError(h.t, p.inbox.SetChats(ctx, p.chats))
	}
	for range 3 {
		for _, p := range h.phones {
			require.NoError(h.t, p.inbox.History(ctx))
		}
		for len(h.pushes) > 0 {
			push := h.pushes[0]
			h.pushes = h.pushes[1:]
			require.NoError(h.t, h.phones[push.to].inbox.Receive(ctx, encodePush(push)))
		}
	}
}

// check is what must hold in the end.
func (h *history) check() {
	var unread []map[common.Hash]bool
	for _, p := range h.phones {
		m, now := p.inbox.model, time.Now()
		want, not := make(map[common.Hash]string), make(map[common.Hash]bool)
		for hash, e := range m.entries {
			if e.unread() {
				not[e.Message] = true
				require.False(h.t, h.read[e.Message] && !h.restored, "phone %d: %q was read, and is not", p.id, e.Text)
				if !m.muted(e.Chat, now) && !m.blocked(e.Sender) {
					want[hash] = e.Text
				}
			} else if !e.Own {
				require.True(h.t, h.read[e.Message] || h.maybe[e.Message], "phone %d: nobody read %q", p.id, e.Text)
			}
		}
		got := make(map[common.Hash]string)
		for id, n := range p.tray {
			got[id] = n.Text
		}
		require.Equal(h.t, want, got, "phone %d: shown is what is unread, and not muted or blocked", p.id)
		require.Equal(h.t, len(want), p.badge, "phone %d: badge", p.id)
		require.Equal(h.t, len(want), p.inbox.Unread())
		for _, e := range h.log {
			if h.open(e, []client.Chat{h.cast.sync}) != nil {
				continue
			}
			here := m.message[markOf(h.messageIn(e))] != nil || m.gone.has(markOf(h.messageIn(e)))
			require.True(h.t, here, "phone %d: %q is lost", p.id, h.textOf(e))
		}
		for id, times := range p.loud {
			most := 1
			if !p.lister {
				most += h.crashes[p.id]
			}
			if !h.again[p.id] {
				require.LessOrEqual(h.t, times, most, "phone %d: %s sounds again", p.id, id)
			}
		}
		require.Empty(h.t, m.tell.list)
		require.Empty(h.t, m.sync.list)
		require.Empty(h.t, m.drafts)
		require.Empty(h.t, m.failures)
		require.Empty(h.t, m.unopened, "all keys are there")
		require.Empty(h.t, p.inbox.handed)
		unread = append(unread, not)
		require.Equal(h.t, m.content(), h.modelOf(p).content(), "the file holds it all")
	}
	for id, p := range h.phones {
		for message := range unread[0] {
			require.True(h.t, unread[id][message] || p.inbox.model.message[markOf(message)] == nil, "phone %d counts otherwise than phone 0", id)
		}
		for message := range unread[id] {
			require.True(h.t, unread[0][message] || h.phones[0].inbox.model.message[markOf(message)] == nil, "phone %d counts otherwise than phone 0", id)
		}
		for key, r := range h.phones[0].inbox.model.mutes {
			require.Equal(h.t, r.until, p.inbox.model.mutes[key].until, "mutes of phone %d", id)
		}
		for key, r := range h.phones[0].inbox.model.blocks {
			require.Equal(h.t, r.on, p.inbox.model.blocks[key].on, "blocks of phone %d", id)
		}
	}
	if h.restored {
		return // what was written after the backup may be written again
	}
	sent := make(map[string]map[common.Hash]bool)
	for _, e := range h.log {
		if text := h.textOf(e); h.replies[text] {
			if sent[text] == nil {
				sent[text] = make(map[common.Hash]bool)
			}
			sent[text][h.messageIn(e)] = true
		}
	}
	for text := range h.replies {
		require.Len(h.t, sent[text], 1, "%q is sent once", text)
	}
}

// TestModel does anything in any order to up to three phones of one person: messages
// come, pushes arrive late, twice or not at all, the user reads, deletes, mutes, blocks
// and answers, processes end at any write and any call, networks go, backups are put back.
// When it is quiet again, what is shown is what is unread, not muted and not blocked, all
// phones count alike, nothing is lost, and nothing sounded or was sent twice.
func TestModel(t *testing.T) {
	castOnce()
	batches := max(*histories/100, 1) // of as many as rapid's default
	var done atomic.Int64
	t.Run("histories", func(t *testing.T) {
		for worker := range min(runtime.GOMAXPROCS(0), batches) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for done.Add(1) <= int64(batches) {
					rapid.Check(t, func(rt *rapid.T) {
						phones := 1 + below(3).Draw(rt, "phones")
						script := scripts.Draw(rt, "script")
						if wrong := runHistory(t, phones, script); wrong != "" {
							rt.Fatal(wrong)
						}
					})
				}
			})
		}
	})
	for _, event := range []string{
		"somebody writes %q", "the last letter comes in another envelope", "a push of kind %d arrives", "a push is lost",
		"asks for the history", "flushes", "reads %q", "reads chat %s", "deletes %q", "mutes %s until %s", "blocks %d: %t",
		"ends after %d steps", "is backed up", "is restored", "offline: %t", "action %d on %q", "has all keys",
	} {
		_, ok := happened.Load(event)
		require.True(t, ok || t.Failed(), "in no history: %s", event)
	}
}

// histories is how many TestModel runs; make model runs many more. With the race
// detector each takes five times as long.
var histories = flag.Int("model.histories", 1000, "run this many `HISTORIES` in TestModel")

// happened are the events of all histories, as say has them.
var happened sync.Map

// failed is what is wrong with a history. It ends it.
type failed struct{ text string }

func (f *failed) Errorf(format string, args ...any) { f.text += fmt.Sprintf(format, args...) }

func (f *failed) FailNow() { panic(f) }

// runHistory runs one history in time of its own, and returns what is wrong with it,
// with what happened.
func runHistory(t *testing.T, phones int, script []operation) (wrong string) {
	synctest.Test(t, func(*testing.T) {
		f := new(failed)
		var h *history
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
			if f.text != "" {
				wrong = strings.Join(append(h.trace, f.text), "\n")
			}
		}()
		h = newHistory(f, phones)
		for _, o := range script {
			h.do(o)
		}
		h.settleDown()
		h.check()
	})
	return wrong
}
