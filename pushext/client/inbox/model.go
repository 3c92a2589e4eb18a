package inbox

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// mark stands for a hash, or for a message: its first bytes. Making a message that
// has a given mark takes 2^64 attempts.
type mark [8]byte

func markOf(hash common.Hash) mark { return mark(hash[:]) }

// marks are a set that forgets the oldest beyond a limit.
type marks struct {
	limit int
	list  []mark
	set   map[mark]struct{}
}

func newMarks(limit int) marks { return marks{limit: limit, set: make(map[mark]struct{})} }

func (m *marks) has(k mark) bool {
	_, ok := m.set[k]
	return ok
}

func (m *marks) add(k mark) {
	if m.has(k) {
		return
	}
	m.list = append(m.list, k)
	m.set[k] = struct{}{}
	for len(m.list) > m.limit {
		delete(m.set, m.list[0])
		m.list = m.list[1:]
	}
}

func (m *marks) drop(k mark) {
	if m.has(k) {
		delete(m.set, k)
		m.list = slices.DeleteFunc(m.list, func(l mark) bool { return l == k })
	}
}

// entry is a message as the model keeps it.
type entry struct {
	messageRecord
	order uint64 // counts messages as they arrived
}

func (e *entry) unread() bool { return !e.Read && !e.Own }

// chat is what the model keeps of one chat.
type chat struct {
	entries []*entry // in the order of arrival
}

type register struct {
	stamp
	until uint64 // of a mute
	on    bool   // of a block
}

type unopened struct {
	came uint64
	*whisper.Envelope
}

type outgoing struct {
	draftRecord
	sealed *whisper.Envelope // nil: not yet
}

// model is the sum of the records in a file. It is the same in every process that has
// read the same file.
type model struct {
	device   uint64
	entries  map[common.Hash]*entry // by the hash of the first envelope
	message  map[mark]*entry        // by Message
	copies   map[common.Hash]*entry // by the hash of further envelopes
	chats    map[client.ChatID]*chat
	byAge    []*entry // in the order of arrival; may hold removed ones
	bytes    int
	order    uint64
	gone     marks                // hashes and messages that were removed
	early    marks                // hashes and messages read before they arrived
	ghosts   map[common.Hash]bool // notifications of messages that were removed
	mutes    map[client.ChatID]register
	blocks   map[string]register // by sender
	unopened []unopened          // oldest first
	held     int                 // bytes of unopened

	tell     marks // hashes of what was read here, to tell the server
	telling  map[mark]common.Hash
	sync     marks // messages that were read here, to tell the other devices
	stamps   map[stamp]record
	drafts   []*outgoing
	actions  marks
	failures []Failure
	channels bool // the server has to be told the modes of the chats
	counts   countsRecord

	behind   bool                 // a mute was ended, and no push came for its messages
	sealedOf map[common.Hash]bool // messages that were sealed here
}

func newModel() *model {
	return &model{
		entries: make(map[common.Hash]*entry), message: make(map[mark]*entry), copies: make(map[common.Hash]*entry),
		chats: make(map[client.ChatID]*chat), gone: newMarks(maxGone), early: newMarks(maxEarly), ghosts: make(map[common.Hash]bool),
		mutes: make(map[client.ChatID]register), blocks: make(map[string]register),
		tell: newMarks(maxTell), telling: make(map[mark]common.Hash), sync: newMarks(maxTell),
		stamps: make(map[stamp]record), actions: newMarks(maxActions), sealedOf: make(map[common.Hash]bool),
	}
}

// find returns the message of an envelope, or nil.
func (m *model) find(hash common.Hash) *entry {
	if e := m.entries[hash]; e != nil {
		return e
	}
	return m.copies[hash]
}

func (m *model) muted(chat client.ChatID, now time.Time) bool {
	return m.mutes[chat].until > uint64(now.Unix())
}

func (m *model) blocked(sender []byte) bool { return len(sender) > 0 && m.blocks[string(sender)].on }

func (r *deviceRecord) apply(m *model) { m.device = r.ID }

func (r *messageRecord) apply(m *model) {
	if m.find(r.Hash) != nil || m.message[markOf(r.Message)] != nil || m.gone.has(markOf(r.Hash)) || m.gone.has(markOf(r.Message)) {
		return
	}
	m.order++
	e := &entry{messageRecord: *r, order: m.order}
	e.Copies = nil
	m.entries[e.Hash], m.message[markOf(e.Message)] = e, e
	for _, hash := range r.Copies[:min(len(r.Copies), maxCopies)] {
		e.Copies = append(e.Copies, hash)
		m.copies[hash] = e
	}
	if m.early.has(markOf(e.Hash)) || m.early.has(markOf(e.Message)) {
		m.early.drop(markOf(e.Hash))
		m.early.drop(markOf(e.Message))
		e.Read = true
	}
	c := m.chats[e.Chat]
	if c == nil {
		c = new(chat)
		m.chats[e.Chat] = c
	}
	c.entries = append(c.entries, e)
	m.byAge = append(m.byAge, e)
	m.bytes += len(e.Payload)
	if len(c.entries) > MaxChatMessages {
		m.evict(c.entries)
	}
	for len(m.entries) > MaxMessages || m.bytes > MaxBytes {
		m.evict(m.byAge)
	}
}

// evict removes the oldest read message or, if there is none, the oldest message.
func (m *model) evict(from []*entry) {
	var oldest *entry
	for _, e := range from {
		if m.entries[e.Hash] != e {
			continue
		}
		if !e.unread() {
			oldest = e
			break
		}
		if oldest == nil {
			oldest = e
		}
	}
	m.remove(oldest)
	m.counts.Evicted++
}

// remove removes a message, and remembers that its notification has to go.
func (m *model) remove(e *entry) {
	if e == nil || m.entries[e.Hash] != e {
		return
	}
	delete(m.entries, e.Hash)
	delete(m.message, markOf(e.Message))
	for _, hash := range e.Copies {
		delete(m.copies, hash)
	}
	c := m.chats[e.Chat]
	c.entries = slices.DeleteFunc(c.entries, func(o *entry) bool { return o == e })
	if len(c.entries) == 0 {
		delete(m.chats, e.Chat)
	}
	m.bytes -= len(e.Payload)
	if len(m.byAge) > 2*len(m.entries)+64 {
		m.byAge = slices.DeleteFunc(m.byAge, func(o *entry) bool { return m.entries[o.Hash] != o })
	}
	if e.Display != notDisplayed {
		m.ghosts[e.Hash] = true
	}
	m.gone.add(markOf(e.Hash))
	m.gone.add(markOf(e.Message))
}

func (r *copyRecord) apply(m *model) {
	e := m.message[markOf(r.Message)]
	if e == nil || m.find(r.Hash) != nil || len(e.Copies) == maxCopies {
		return
	}
	e.Copies = append(e.Copies, r.Hash)
	m.copies[r.Hash] = e
	if m.early.has(markOf(r.Hash)) {
		m.early.drop(markOf(r.Hash))
		e.Read = true
	}
	if e.Read || e.Own {
		m.telled(r.Hash)
	}
}

// telled notes a hash for the server.
func (m *model) telled(hash common.Hash) {
	m.tell.add(markOf(hash))
	m.telling[markOf(hash)] = hash
	if len(m.telling) > m.tell.limit {
		maps.DeleteFunc(m.telling, func(k mark, _ common.Hash) bool { return !m.tell.has(k) })
	}
}

func (r *readRecord) apply(m *model) {
	for _, hash := range r.Hashes {
		e := m.find(hash)
		switch {
		case e == nil && r.Here:
			m.telled(hash)
			m.early.add(markOf(hash))
		case e == nil:
			m.early.add(markOf(hash))
		case e.Read:
		default:
			e.Read = true
			if r.Here {
				m.telled(e.Hash)
				for _, c := range e.Copies {
					m.telled(c)
				}
				m.sync.add(markOf(e.Message))
			}
		}
	}
}

func (r *readMessagesRecord) apply(m *model) {
	for _, k := range r.Marks {
		if e := m.message[k]; e != nil {
			e.Read = true
		} else if !m.gone.has(k) {
			m.early.add(k)
		}
	}
}

func (r *goneRecord) apply(m *model) {
	for _, hash := range r.Hashes {
		m.remove(m.find(hash))
	}
}

func (r *displayRecord) apply(m *model) {
	for _, hash := range r.Hashes {
		if e := m.entries[hash]; e != nil {
			e.Display = r.State
			e.Known = e.Known || r.State == displayed
			delete(m.ghosts, hash)
		} else if r.State == notDisplayed {
			delete(m.ghosts, hash)
		} else {
			m.ghosts[hash] = true
		}
	}
}

func (r *muteRecord) apply(m *model) {
	old, known := m.mutes[r.Chat]
	if known && !r.Stamp.after(old.stamp) {
		return
	}
	delete(m.stamps, old.stamp)
	m.mutes[r.Chat] = register{stamp: r.Stamp, until: r.Until}
	forgetOldest(m.mutes)
	m.channels = true
	m.behind = m.behind || r.Until < old.until
	if r.Here {
		m.stamps[r.Stamp] = r
	}
}

func (r *blockRecord) apply(m *model) {
	old, known := m.blocks[string(r.Sender)]
	if known && !r.Stamp.after(old.stamp) {
		return
	}
	delete(m.stamps, old.stamp)
	m.blocks[string(r.Sender)] = register{stamp: r.Stamp, on: r.On}
	forgetOldest(m.blocks)
	if r.Here {
		m.stamps[r.Stamp] = r
	}
}

// forgetOldest keeps a map of registers within its limit.
func forgetOldest[K comparable](of map[K]register) {
	for len(of) > maxRegisters {
		var oldest K
		first := true
		for k, r := range of {
			if first || of[oldest].after(r.stamp) {
				oldest, first = k, false
			}
		}
		delete(of, oldest)
	}
}

func (r *toldRecord) apply(m *model) {
	for _, hash := range r.Hashes {
		m.tell.drop(markOf(hash))
		delete(m.telling, markOf(hash))
	}
}

func (r *syncedRecord) apply(m *model) {
	for _, k := range r.Marks {
		m.sync.drop(k)
	}
	for _, s := range r.Stamps {
		delete(m.stamps, s)
	}
}

func (r *unopenedRecord) apply(m *model) {
	e, err := whisper.DecodeEnvelope(bytes.Clone(r.Raw))
	if err != nil || m.findUnopened(e.Hash()) >= 0 || m.message[markOf(e.Message())] != nil || m.gone.has(markOf(e.Message())) {
		return
	}
	m.counts.Unopened++
	m.unopened = append(m.unopened, unopened{r.Came, e})
	m.held += len(e.Raw())
	sameTopic := func(u unopened) bool { return u.Topic == e.Topic }
	count := 0
	for _, u := range m.unopened {
		if sameTopic(u) {
			count++
		}
	}
	if count > MaxTopicUnopened {
		m.dropUnopened(slices.IndexFunc(m.unopened, sameTopic))
	}
	for len(m.unopened) > MaxUnopened || m.held > MaxUnopenedBytes {
		m.dropUnopened(0)
	}
}

func (m *model) findUnopened(hash common.Hash) int {
	return slices.IndexFunc(m.unopened, func(u unopened) bool { return u.Hash() == hash })
}

func (m *model) dropUnopened(at int) {
	m.takeUnopened(at)
	m.counts.Dropped++
}

func (m *model) takeUnopened(at int) {
	m.held -= len(m.unopened[at].Raw())
	m.unopened = slices.Delete(m.unopened, at, at+1)
}

func (r *openedRecord) apply(m *model) {
	if at := m.findUnopened(r.Hash); at >= 0 {
		m.takeUnopened(at)
	}
}

func actionMark(id string) mark { return mark(crypto.Keccak256([]byte(id))) }

func (r *actionRecord) apply(m *model) { m.actions.add(actionMark(r.ID)) }

func (m *model) draft(id string) int {
	return slices.IndexFunc(m.drafts, func(o *outgoing) bool { return o.ID == id })
}

func (r *draftRecord) apply(m *model) {
	if m.draft(r.ID) < 0 && len(m.drafts) < MaxOutgoing {
		m.drafts = append(m.drafts, &outgoing{draftRecord: *r})
	}
}

func (r *sealedRecord) apply(m *model) {
	at := m.draft(r.ID)
	if at < 0 || m.drafts[at].sealed != nil {
		return
	}
	if e, err := whisper.DecodeEnvelope(bytes.Clone(r.Raw)); err == nil {
		m.drafts[at].sealed = e
		m.sealedOf[e.Message()] = true
	}
}

func (r *postedRecord) apply(m *model) {
	at := m.draft(r.ID)
	if at < 0 {
		return
	}
	o := m.drafts[at]
	if o.sealed != nil {
		delete(m.sealedOf, o.sealed.Message())
	}
	m.drafts = slices.Delete(m.drafts, at, at+1)
	if r.Failure != "" {
		m.failures = append(m.failures, Failure{ID: o.ID, Chat: o.Chat, Payload: o.Payload, Reason: r.Failure})
		m.failures = m.failures[max(0, len(m.failures)-maxFailures):]
	}
}

func (r *owedRecord) apply(m *model) {
	for _, hash := range r.Hashes {
		m.telled(hash)
	}
}

func (r *channelsRecord) apply(m *model) { m.channels = !r.Told }

func (r *countsRecord) apply(m *model) { m.counts = *r }
