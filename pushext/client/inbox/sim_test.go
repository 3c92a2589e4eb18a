package inbox

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// simWorld is a mailserver with its archive, the way to the push services, and the
// phones of one person.
type simWorld struct {
	log    []*whisper.Envelope
	phones []*simPhone
	pushes []simPush // on the way
	opened map[opening]*client.Preview

	messages map[*whisper.Envelope]common.Hash
}

type opening struct {
	message common.Hash
	chat    client.ChatID
}

// messageIn is what Message says of an envelope, which costs a hash each time.
func (w *simWorld) messageIn(e *whisper.Envelope) common.Hash {
	m, ok := w.messages[e]
	if !ok {
		m = e.Message()
		w.messages[e] = m
	}
	return m
}

// chatIDs are those of the cast's chats by their names. They, and openings, are not changed
// once there is a cast.
var chatIDs = make(map[string]client.ChatID)

// openings are what is inside messages that several histories use.
var openings = make(map[opening]*client.Preview)

// open is client.Unopened.Open, which takes a signature's time, once for a message.
func (w *simWorld) open(e *whisper.Envelope, chats []client.Chat) *client.Preview {
	for at := range chats {
		if chats[at].Topic != e.Topic {
			continue
		}
		key := opening{w.messageIn(e), chatIDs[chats[at].Name]}
		p, known := openings[key]
		if !known {
			p, known = w.opened[key]
		}
		if !known {
			p = client.Unopened{Envelope: e}.Open(chats[at : at+1])
			w.opened[key] = p
		}
		if p != nil {
			copied := *p
			copied.Hash = e.Hash()
			return &copied
		}
	}
	return nil
}

type simPush struct {
	to     int
	kind   pushwire.Kind
	hashes []common.Hash
}

// post archives an envelope, and wakes who is to be woken.
func (w *simWorld) post(e *whisper.Envelope) {
	for _, old := range w.log {
		if old.Hash() == e.Hash() {
			return
		}
	}
	w.log = append(w.log, e)
	for id, p := range w.phones {
		if p.early[e.Hash()] || p.channels[e.Topic] > time.Now().Unix() || !p.listens[e.Topic] {
			continue
		}
		p.pending = append(p.pending, e.Hash())
		w.wake(id)
	}
}

func (w *simWorld) wake(id int) {
	p := w.phones[id]
	if len(p.pending) == 0 {
		return
	}
	newest := p.pending[max(0, len(p.pending)-8):]
	for _, h := range newest {
		p.woken[h] = true
	}
	w.pushes = append(w.pushes, simPush{id, pushwire.Messages, slices.Clone(newest)})
}

// seen is a Seen of a phone.
func (w *simWorld) seen(by int, hashes []common.Hash) {
	for id, p := range w.phones {
		var dismiss []common.Hash
		for _, h := range hashes {
			p.early[h] = true
			p.pending = slices.DeleteFunc(p.pending, func(o common.Hash) bool { return o == h })
			if id != by && p.woken[h] {
				dismiss = append(dismiss, h)
			}
			delete(p.woken, h)
		}
		if len(dismiss) > 0 {
			w.pushes = append(w.pushes, simPush{id, pushwire.Dismiss, dismiss})
		}
	}
}

// simPhone is one phone: the platform, the process on it, and what the server keeps of
// it.
type simPhone struct {
	w  *simWorld
	id int

	// The server's.
	pending  []common.Hash // not fetched
	woken    map[common.Hash]bool
	early    map[common.Hash]bool
	channels map[whisper.Topic]int64 // muted until
	listens  map[whisper.Topic]bool

	// On the phone, whatever process runs.
	disk    *disk
	state   deviceState
	tray    map[common.Hash]Notification
	badge   int
	loud    map[common.Hash]int // how often something sounded for a message
	chats   []client.Chat       // that the app gives at its start
	offline bool
	lister  bool // it tells what it has
	ios     bool // a badge of 0 takes all notifications away
	lost    bool // the tray, and the app has not said so
	backups []backup

	// The process.
	inbox *Inbox
	given map[common.Hash]bool
	left  int // calls until the process ends; 0: it does not
	torn  int // what of the last write is on the disk, in thousandths
	dead  bool
}

type backup struct {
	disk  []byte
	state deviceState
}

// deviceState is what a client.Device keeps in its store.
type deviceState struct {
	cursor    int
	known     map[mark]bool
	elsewhere map[mark]bool
	waiting   []simWaiting
}

type simWaiting struct {
	hash    common.Hash
	message mark // zero: not fetched
}

func (s deviceState) clone() deviceState {
	return deviceState{s.cursor, maps.Clone(s.known), maps.Clone(s.elsewhere), slices.Clone(s.waiting)}
}

func (s *deviceState) drop(hash common.Hash) {
	s.waiting = slices.DeleteFunc(s.waiting, func(w simWaiting) bool { return w.hash == hash })
}

// step is a moment at which the process may end.
func (p *simPhone) step() error {
	if p.dead {
		return errCrash
	}
	if p.left > 0 {
		if p.left--; p.left == 0 {
			p.dead = true
			return errCrash
		}
	}
	return nil
}

// asked is step for what needs the network.
func (p *simPhone) asked() error {
	if err := p.step(); err != nil {
		return err
	}
	if p.offline {
		return &client.GaveUpError{What: "anything", Attempts: 1, Cause: errors.New("no network")}
	}
	return nil
}

// App.

func (p *simPhone) Show(n Notification) error {
	if err := p.step(); err != nil {
		return err
	}
	p.tray[n.ID] = n
	if n.Manner != Quiet {
		p.loud[n.ID]++
	}
	return p.step()
}

func (p *simPhone) Remove(id common.Hash) error {
	if err := p.step(); err != nil {
		return err
	}
	delete(p.tray, id)
	return p.step()
}

func (p *simPhone) SetBadge(n int) error {
	if err := p.step(); err != nil {
		return err
	}
	p.badge = n
	if n == 0 && p.ios {
		clear(p.tray)
	}
	return p.step()
}

// simLister is a phone whose platform tells what it has.
type simLister struct{ *simPhone }

func (p simLister) Displayed() ([]common.Hash, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(p.tray)), nil
}

// Device.

func (p *simPhone) Chats() []client.Chat { return p.chats }

func (p *simPhone) Doubt(...whisper.Topic) {}

func (p *simPhone) SetChats(_ context.Context, chats []client.Chat) error {
	if err := p.asked(); err != nil {
		return err
	}
	clear(p.channels)
	clear(p.listens)
	for _, c := range chats {
		p.listens[c.Topic] = true
		if until := c.MutedUntil.Unix(); !c.MutedUntil.IsZero() {
			p.channels[c.Topic] = until
		}
	}
	for _, c := range chats { // of two chats of one topic the one that wakes counts
		if c.MutedUntil.IsZero() {
			delete(p.channels, c.Topic)
		}
	}
	if err := p.step(); err != nil {
		return err
	}
	p.chats = chats
	return nil
}

func (p *simPhone) ReadElsewhere(hashes ...common.Hash) []common.Hash {
	return slices.DeleteFunc(slices.Clone(hashes), func(h common.Hash) bool { return !p.state.elsewhere[markOf(h)] })
}

func (p *simPhone) Shown(_ context.Context, hashes ...common.Hash) error {
	if err := p.step(); err != nil {
		return err
	}
	for _, h := range hashes {
		k := markOf(h)
		for _, w := range p.state.waiting {
			if w.hash == h && w.message != (mark{}) {
				k = w.message
			}
		}
		p.state.known[k] = true
		p.state.drop(h)
		delete(p.given, h)
	}
	return nil
}

func (p *simPhone) Seen(_ context.Context, hashes []common.Hash) error {
	if err := p.asked(); err != nil {
		return err
	}
	p.w.seen(p.id, hashes)
	return p.step()
}

func (p *simPhone) Post(_ context.Context, sealed *whisper.Envelope, wake bool) (common.Hash, error) {
	if err := p.asked(); err != nil {
		return common.Hash{}, err
	}
	e, err := whisper.Renew(context.Background(), sealed, whisper.Draft{TTL: 60})
	if err != nil {
		return common.Hash{}, err
	}
	if wake {
		p.early[e.Hash()] = true
	} else {
		p.w.seen(p.id, []common.Hash{e.Hash()})
	}
	if err := p.step(); err != nil {
		return common.Hash{}, err
	}
	p.w.post(e)
	return e.Hash(), p.step()
}

// body of a push: which of those on the way.
func (p *simPhone) Receive(ctx context.Context, body []byte) (client.Event, error) {
	push := decodePush(body)
	if push.kind == pushwire.Dismiss {
		if err := p.step(); err != nil {
			return client.Event{}, err
		}
		for _, h := range push.hashes {
			p.state.elsewhere[markOf(h)] = true
		}
		return client.Event{Kind: push.kind, Dismissed: push.hashes}, p.step()
	}
	return p.Fetch(ctx, push.hashes)
}

func (p *simPhone) Fetch(_ context.Context, hashes []common.Hash) (client.Event, error) {
	event := client.Event{Kind: pushwire.Messages}
	wanted := slices.Clone(hashes)
	for _, w := range p.state.waiting {
		if !p.given[w.hash] && !slices.Contains(wanted, w.hash) {
			wanted = append(wanted, w.hash)
		}
	}
	if err := p.step(); err != nil {
		return event, err
	}
	for _, h := range wanted {
		if !p.state.known[markOf(h)] && !slices.ContainsFunc(p.state.waiting, func(w simWaiting) bool { return w.hash == h }) {
			p.state.waiting = append(p.state.waiting, simWaiting{hash: h})
		}
	}
	if err := p.asked(); err != nil {
		return event, err
	}
	p.pending = slices.DeleteFunc(p.pending, func(h common.Hash) bool { return slices.Contains(wanted, h) })
	for _, h := range wanted {
		p.early[h] = true
	}
	if err := p.step(); err != nil { // the receipt has arrived, and the reply is lost
		return event, err
	}
	for _, e := range p.w.log {
		if slices.Contains(wanted, e.Hash()) {
			p.deliver(e, &event)
		}
	}
	return event, p.handed(&event)
}

func (p *simPhone) History(ctx context.Context) (client.Event, error) {
	event, err := p.Fetch(ctx, nil)
	if err != nil {
		return event, err
	}
	if err := p.asked(); err != nil {
		return event, err
	}
	for p.state.cursor < len(p.w.log) {
		if len(event.Previews)+len(event.Unopened) >= 20 { // a small errFull
			event.More = true
			break
		}
		e := p.w.log[p.state.cursor]
		p.deliver(e, &event)
		p.state.cursor++
		p.pending = slices.DeleteFunc(p.pending, func(h common.Hash) bool { return h == e.Hash() })
		p.early[e.Hash()] = true
	}
	return event, p.handed(&event)
}

func (p *simPhone) handed(event *client.Event) error {
	for _, h := range event.Hashes() {
		p.given[h] = true
	}
	return p.step()
}

func (p *simPhone) deliver(e *whisper.Envelope, event *client.Event) {
	preview := p.w.open(e, p.chats)
	message := markOf(p.w.messageIn(e))
	if p.state.known[message] || p.state.known[markOf(e.Hash())] {
		p.state.known[message] = true
		p.state.drop(e.Hash())
		if preview != nil {
			event.Copies = append(event.Copies, client.Copy{Hash: e.Hash(), Message: p.w.messageIn(e)})
		}
		return
	}
	hash := e.Hash()
	first := slices.IndexFunc(p.state.waiting, func(w simWaiting) bool { return w.message == message })
	switch {
	case first >= 0:
		hash = p.state.waiting[first].hash
		if hash != e.Hash() {
			p.state.drop(e.Hash())
			if preview != nil {
				event.Copies = append(event.Copies, client.Copy{Hash: e.Hash(), Message: p.w.messageIn(e)})
			}
		}
	default:
		at := slices.IndexFunc(p.state.waiting, func(w simWaiting) bool { return w.hash == hash })
		if at < 0 {
			p.state.waiting = append(p.state.waiting, simWaiting{hash, message})
		} else {
			p.state.waiting[at].message = message
		}
	}
	if slices.Contains(event.Hashes(), hash) {
		return
	}
	if preview == nil {
		if hash == e.Hash() {
			event.Unopened = append(event.Unopened, client.Unopened{Envelope: e})
		}
		return
	}
	preview.Hash = hash
	preview.Read = p.state.elsewhere[markOf(hash)] || p.state.elsewhere[markOf(e.Hash())]
	event.Previews = append(event.Previews, *preview)
}

func encodePush(p simPush) []byte {
	b := []byte{byte(p.kind)}
	for _, h := range p.hashes {
		b = append(b, h[:]...)
	}
	return b
}

func decodePush(b []byte) simPush {
	p := simPush{kind: pushwire.Kind(b[0])}
	for h := range slices.Chunk(b[1:], common.HashLength) {
		p.hashes = append(p.hashes, common.Hash(h))
	}
	return p
}
