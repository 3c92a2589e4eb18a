package inbox

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// simServer is a model of a mailserver with its archive, of the way to the push services,
// and of client.Device.
type simServer struct {
	*opener
	log     []*whisper.Envelope
	devices []*simDevice
	push    func(push)
}

func newSimServer(h *history) side { return &simServer{opener: h.opener, push: h.pushed} }

func (w *simServer) join(p *phone) {
	d := &simDevice{
		w: w, p: p, woken: make(map[common.Hash]bool), early: make(map[common.Hash]bool),
		channels: make(map[whisper.Topic]int64), listens: make(map[whisper.Topic]bool),
		state: simState{known: make(map[mark]bool), elsewhere: make(map[mark]bool)},
	}
	for _, c := range p.chats {
		d.listens[c.Topic] = true
	}
	w.devices = append(w.devices, d)
}

func (w *simServer) device(p *phone) (Device, error) {
	d := w.devices[p.id]
	d.given = make(map[common.Hash]bool)
	return d, nil
}

func (w *simServer) ended(*phone) {}

func (w *simServer) backUp(p *phone) any { return w.devices[p.id].state.clone() }

func (w *simServer) putBack(p *phone, kept any) { w.devices[p.id].state = kept.(simState).clone() }

func (w *simServer) envelopes() []*whisper.Envelope { return w.log }

func (w *simServer) trouble(int, int) string { return "" }

func (w *simServer) rings() bool { return false }

func (w *simServer) owes() bool { return false }

func (w *simServer) rest() {}

func (w *simServer) calm() {}

func (w *simServer) close() {}

// post archives an envelope, and wakes the devices that it should wake.
func (w *simServer) post(e *whisper.Envelope) {
	for _, old := range w.log {
		if old.Hash() == e.Hash() {
			return
		}
	}
	w.log = append(w.log, e)
	for _, d := range w.devices {
		if d.early[e.Hash()] || d.channels[e.Topic] > time.Now().Unix() || !d.listens[e.Topic] {
			continue
		}
		d.pending = append(d.pending, e.Hash())
		w.wake(d)
	}
}

func (w *simServer) wake(d *simDevice) {
	if len(d.pending) == 0 {
		return
	}
	newest := d.pending[max(0, len(d.pending)-8):]
	for _, h := range newest {
		d.woken[h] = true
	}
	w.push(push{to: d.p.id, body: encodePush(pushwire.Messages, newest), what: "messages"})
}

// seen is a Seen of a phone.
func (w *simServer) seen(by *simDevice, hashes []common.Hash) {
	for _, d := range w.devices {
		var dismiss []common.Hash
		for _, h := range hashes {
			d.early[h] = true
			d.pending = slices.DeleteFunc(d.pending, func(o common.Hash) bool { return o == h })
			if d != by && d.woken[h] {
				dismiss = append(dismiss, h)
			}
			delete(d.woken, h)
		}
		if len(dismiss) > 0 {
			w.push(push{to: d.p.id, body: encodePush(pushwire.Dismiss, dismiss), what: "dismissal"})
		}
	}
}

// simDevice is a client.Device of one phone, and what the server keeps of it.
type simDevice struct {
	w *simServer
	p *phone

	// The server's.
	pending  []common.Hash // not fetched
	woken    map[common.Hash]bool
	early    map[common.Hash]bool
	channels map[whisper.Topic]int64 // muted until
	listens  map[whisper.Topic]bool

	state simState
	given map[common.Hash]bool // in this process
}

// simState is what a client.Device keeps in its store.
type simState struct {
	cursor    int
	known     map[mark]bool
	elsewhere map[mark]bool
	waiting   []simWaiting
}

type simWaiting struct {
	hash    common.Hash
	message mark // zero: not fetched
}

func (s simState) clone() simState {
	return simState{s.cursor, maps.Clone(s.known), maps.Clone(s.elsewhere), slices.Clone(s.waiting)}
}

func (s *simState) drop(hash common.Hash) {
	s.waiting = slices.DeleteFunc(s.waiting, func(w simWaiting) bool { return w.hash == hash })
}

func (d *simDevice) Chats() []client.Chat { return d.p.chats }

func (d *simDevice) Doubt(...whisper.Topic) {}

func (d *simDevice) SetChats(_ context.Context, chats []client.Chat) error {
	if err := d.p.asked(); err != nil {
		return err
	}
	clear(d.channels)
	clear(d.listens)
	for _, c := range chats {
		d.listens[c.Topic] = true
		if until := c.MutedUntil.Unix(); !c.MutedUntil.IsZero() {
			d.channels[c.Topic] = until
		}
	}
	for _, c := range chats { // of two chats of one topic the one that wakes counts
		if c.MutedUntil.IsZero() {
			delete(d.channels, c.Topic)
		}
	}
	if err := d.p.step(); err != nil {
		return err
	}
	d.p.chats = chats
	return nil
}

func (d *simDevice) ReadElsewhere(hashes ...common.Hash) []common.Hash {
	return slices.DeleteFunc(slices.Clone(hashes), func(h common.Hash) bool { return !d.state.elsewhere[markOf(h)] })
}

func (d *simDevice) Shown(_ context.Context, hashes ...common.Hash) error {
	if err := d.p.step(); err != nil {
		return err
	}
	for _, h := range hashes {
		k := markOf(h)
		for _, w := range d.state.waiting {
			if w.hash == h && w.message != (mark{}) {
				k = w.message
			}
		}
		d.state.known[k] = true
		d.state.drop(h)
		delete(d.given, h)
	}
	return nil
}

func (d *simDevice) Seen(_ context.Context, hashes []common.Hash) error {
	if err := d.p.asked(); err != nil {
		return err
	}
	d.w.seen(d, hashes)
	return d.p.step()
}

func (d *simDevice) Post(_ context.Context, sealed *whisper.Envelope, wake bool) (common.Hash, error) {
	if err := d.p.asked(); err != nil {
		return common.Hash{}, err
	}
	e, err := whisper.Renew(context.Background(), sealed, whisper.Draft{TTL: 60})
	if err != nil {
		return common.Hash{}, err
	}
	if wake {
		d.early[e.Hash()] = true
	} else {
		d.w.seen(d, []common.Hash{e.Hash()})
	}
	if err := d.p.step(); err != nil {
		return common.Hash{}, err
	}
	d.w.post(e)
	return e.Hash(), d.p.step()
}

// body of a push: which of those on the way.
func (d *simDevice) Receive(ctx context.Context, body []byte) (client.Event, error) {
	kind, hashes := decodePush(body)
	if kind == pushwire.Dismiss {
		if err := d.p.step(); err != nil {
			return client.Event{}, err
		}
		for _, h := range hashes {
			d.state.elsewhere[markOf(h)] = true
		}
		return client.Event{Kind: kind, Dismissed: hashes}, d.p.step()
	}
	return d.Fetch(ctx, hashes)
}

func (d *simDevice) Fetch(_ context.Context, hashes []common.Hash) (client.Event, error) {
	event := client.Event{Kind: pushwire.Messages}
	wanted := slices.Clone(hashes)
	for _, w := range d.state.waiting {
		if !d.given[w.hash] && !slices.Contains(wanted, w.hash) {
			wanted = append(wanted, w.hash)
		}
	}
	if err := d.p.step(); err != nil {
		return event, err
	}
	for _, h := range wanted {
		if !d.state.known[markOf(h)] && !slices.ContainsFunc(d.state.waiting, func(w simWaiting) bool { return w.hash == h }) {
			d.state.waiting = append(d.state.waiting, simWaiting{hash: h})
		}
	}
	if err := d.p.asked(); err != nil {
		return event, err
	}
	d.pending = slices.DeleteFunc(d.pending, func(h common.Hash) bool { return slices.Contains(wanted, h) })
	for _, h := range wanted {
		d.early[h] = true
	}
	if err := d.p.step(); err != nil { // the receipt has arrived, and the reply is lost
		return event, err
	}
	for _, e := range d.w.log {
		if slices.Contains(wanted, e.Hash()) {
			d.deliver(e, &event)
		}
	}
	return event, d.handed(&event)
}

func (d *simDevice) History(ctx context.Context) (client.Event, error) {
	event, err := d.Fetch(ctx, nil)
	if err != nil {
		return event, err
	}
	if err := d.p.asked(); err != nil {
		return event, err
	}
	for d.state.cursor < len(d.w.log) {
		if len(event.Previews)+len(event.Unopened) >= 20 { // a small errFull
			event.More = true
			break
		}
		e := d.w.log[d.state.cursor]
		d.deliver(e, &event)
		d.state.cursor++
		d.pending = slices.DeleteFunc(d.pending, func(h common.Hash) bool { return h == e.Hash() })
		d.early[e.Hash()] = true
	}
	return event, d.handed(&event)
}

func (d *simDevice) handed(event *client.Event) error {
	for _, h := range event.Hashes() {
		d.given[h] = true
	}
	return d.p.step()
}

func (d *simDevice) deliver(e *whisper.Envelope, event *client.Event) {
	preview := d.w.open(e, d.p.chats)
	message := markOf(d.w.messageIn(e))
	if d.state.known[message] || d.state.known[markOf(e.Hash())] {
		d.state.known[message] = true
		d.state.drop(e.Hash())
		if preview != nil {
			event.Copies = append(event.Copies, client.Copy{Hash: e.Hash(), Message: d.w.messageIn(e)})
		}
		return
	}
	hash := e.Hash()
	first := slices.IndexFunc(d.state.waiting, func(w simWaiting) bool { return w.message == message })
	switch {
	case first >= 0:
		hash = d.state.waiting[first].hash
		if hash != e.Hash() {
			d.state.drop(e.Hash())
			if preview != nil {
				event.Copies = append(event.Copies, client.Copy{Hash: e.Hash(), Message: d.w.messageIn(e)})
			}
		}
	default:
		at := slices.IndexFunc(d.state.waiting, func(w simWaiting) bool { return w.hash == hash })
		if at < 0 {
			d.state.waiting = append(d.state.waiting, simWaiting{hash, message})
		} else {
			d.state.waiting[at].message = message
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
	preview.Read = d.state.elsewhere[markOf(hash)] || d.state.elsewhere[markOf(e.Hash())]
	event.Previews = append(event.Previews, *preview)
}

func encodePush(kind pushwire.Kind, hashes []common.Hash) []byte {
	b := []byte{byte(kind)}
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func decodePush(b []byte) (kind pushwire.Kind, hashes []common.Hash) {
	for h := range slices.Chunk(b[1:], common.HashLength) {
		hashes = append(hashes, common.Hash(h))
	}
	return pushwire.Kind(b[0]), hashes
}
