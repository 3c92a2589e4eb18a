package inbox

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// settleDown is the end of all trouble: every phone has a network, and asks.
func (h *history) settleDown() {
	ctx := context.Background()
	h.calm()
	for _, p := range h.phones {
		p.offline, p.left, p.disk.limit = false, 0, 0
		if p.inbox == nil {
			h.start(p)
		}
		h.reshow(p)
		require.NoError(h.t, p.inbox.Background(ctx))
		require.NoError(h.t, p.inbox.ChatClosed(ctx))
	}
	if h.rings() {
		h.woken()
	}
	for _, p := range h.phones {
		p.chats = h.chats(true)
		require.NoError(h.t, p.inbox.SetChats(ctx, p.chats))
	}
	for range 3 {
		for _, p := range h.phones {
			require.NoError(h.t, p.inbox.History(ctx))
		}
		h.deliver()
	}
	if h.rings() {
		h.ringsOnce()
	}
	for _, p := range h.phones {
		require.NoError(h.t, p.inbox.Refresh(ctx))
	}
}

// deliver delivers all pushes, in their order.
func (h *history) deliver() (delivered []push) {
	for push, ok := h.takePush(0, false); ok; push, ok = h.takePush(0, false) {
		require.NoError(h.t, h.phones[push.to].inbox.Receive(context.Background(), push.body))
		delivered = append(delivered, push)
	}
	return delivered
}

// woken is what pushes alone must bring, whatever happened before, when no push is lost any
// more: all that is not muted, that nobody has read elsewhere, and is not one's own. One
// more letter has every phone rung.
func (h *history) woken() {
	ctx := context.Background()
	for _, p := range h.phones {
		require.NoError(h.t, p.inbox.Flush(ctx)) // as Run does
	}
	h.deliver()
	h.writes(h.last[0])
	h.deliver()
	h.calm()
	h.deliver()
	read := maps.Clone(h.maybe)
	for _, p := range h.phones {
		for _, e := range p.inbox.model.entries {
			read[e.Message] = read[e.Message] || !e.unread()
		}
	}
	for _, p := range h.phones {
		m := p.inbox.model
		for _, e := range h.envelopes() {
			message := h.messageIn(e)
			if h.muted[e.Topic] || read[message] || h.own(e) || !slices.ContainsFunc(p.chats, func(c client.Chat) bool { return c.Topic == e.Topic }) {
				continue
			}
			here := m.message[markOf(message)] != nil || m.gone.has(markOf(message)) || slices.ContainsFunc(m.unopened, func(u unopened) bool { return u.Message() == message })
			require.True(h.t, here, "phone %d was not woken for %q", p.id, h.textOf(e))
		}
		require.NoError(h.t, p.inbox.Refresh(ctx))
	}
}

// own says whether the phones' user wrote what is in an envelope, or one of the phones.
func (h *history) own(e *whisper.Envelope) bool {
	p := h.open(e, append(h.chats(true), h.cast.sync))
	return p != nil && (p.ChatID == h.cast.sync.ID() || p.Sender != nil && p.Sender.Equal(&h.bob.PublicKey))
}

// ringsOnce checks what letters lead to when nothing is open: one push to each phone and, when
// a letter is read, one to each of the others. There is no push for a repeated letter, for a
// letter that a history has brought, or to a phone that has muted the chat, and none after that.
func (h *history) ringsOnce() {
	ctx := context.Background()
	others := func(n int) []int { // n for each phone but phone 0
		counts := slices.Repeat([]int{n}, len(h.phones))
		counts[0] = 0
		return counts
	}
	all := slices.Repeat([]int{1}, len(h.phones))
	h.quiet()
	letter := h.writes(h.last[1])
	require.Equal(h.t, all, h.delivered(), "pushes of one letter")
	copied, err := whisper.Renew(ctx, h.last[1], whisper.Draft{TTL: 300})
	require.NoError(h.t, err)
	require.NotEqual(h.t, letter.Hash(), copied.Hash())
	h.side.post(copied)
	require.Zero(h.t, h.onTheWay(), "pushes of the same letter once more")
	h.quiet()
	h.maybe[h.messageIn(letter)] = true
	require.NoError(h.t, h.phones[0].inbox.Read(ctx, letter.Hash()))
	h.read[h.messageIn(letter)] = true
	require.NoError(h.t, h.phones[0].inbox.Flush(ctx))
	require.Equal(h.t, others(1), h.delivered(), "pushes of a letter that was read on phone 0")
	h.quiet()
	h.writes(h.last[3])
	h.lose()
	for _, p := range h.phones {
		require.NoError(h.t, p.inbox.History(ctx))
	}
	h.quiet()
	h.writes(h.last[4])
	require.Equal(h.t, all, h.delivered(), "letters in pushes behind a history")
	h.quiet()
	require.NoError(h.t, h.phones[0].inbox.Mute(ctx, h.bell.ID(), time.Now().Add(24*time.Hour)))
	require.NoError(h.t, h.phones[0].inbox.Flush(ctx))
	if h.alone {
		h.quiet()
		h.writes(h.last[2])
		require.Equal(h.t, others(1), h.delivered(), "pushes of a letter to a chat that is muted on phone 0")
	} else {
		require.Equal(h.t, others(1), h.delivered(), "pushes that a chat was muted")
		h.quiet()
		h.writes(h.last[2])
		require.Zero(h.t, h.onTheWay(), "pushes of a letter to a muted chat")
	}
	h.quiet()
	for _, p := range h.phones {
		require.NoError(h.t, p.inbox.History(ctx))
	}
	h.deliver()
}

// quiet says that nothing is on its way, and that nothing comes for a while.
func (h *history) quiet() {
	require.Zero(h.t, h.onTheWay(), "pushes when everything is told")
	h.calm()
	require.Zero(h.t, h.onTheWay(), "pushes when everything is told")
}

func (h *history) onTheWay() int {
	h.rest()
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pushes)
}

// lose loses all pushes.
func (h *history) lose() {
	h.rest()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pushes = nil
}

// delivered delivers all pushes and counts the hashes that were named to each phone.
func (h *history) delivered() []int {
	counts := make([]int, len(h.phones))
	for _, push := range h.deliver() {
		counts[push.to] += push.hashes
	}
	return counts
}

// writes has somebody write a letter.
func (h *history) writes(letter *whisper.Envelope) *whisper.Envelope {
	e, err := whisper.Renew(context.Background(), letter, whisper.Draft{})
	require.NoError(h.t, err)
	h.side.post(e)
	return e
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
		for _, e := range h.envelopes() {
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
	if h.alone && h.restored {
		return // nothing tells a phone what it had read itself, behind the backup
	}
	for id, p := range h.phones {
		for message := range unread[0] {
			require.True(h.t, unread[id][message] || p.inbox.model.message[markOf(message)] == nil, "phone %d counts otherwise than phone 0", id)
		}
		for message := range unread[id] {
			require.True(h.t, unread[0][message] || h.phones[0].inbox.model.message[markOf(message)] == nil, "phone %d counts otherwise than phone 0", id)
		}
		if h.alone {
			continue
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
	for _, e := range h.envelopes() {
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
