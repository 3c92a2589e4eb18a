package client

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
)

// maxDismissed bounds the dismissals whose arrival the server is still to be told of. It
// may send older ones again, which does no harm.
const maxDismissed = 2 * pushwire.MaxFetch

// owes asks what the server owes the device besides envelopes, and reports which
// dismissals arrived.
func (d *Device) owes() *pushwire.OwedQuery {
	d.mu.Lock()
	defer d.mu.Unlock()
	came := d.state.Dismissed
	return &pushwire.OwedQuery{Dismissed: slices.Clone(came[:min(len(came), d.known.fetch)])}
}

// owed adds to an event what the reply to a Fetch says is owed. The server now knows
// which dismissals arrived.
func (d *Device) owed(x exchange, event *Event) {
	asked, _ := x.request.(*pushwire.Fetch)
	told, _ := x.reply.Body.(*pushwire.FetchReply)
	if asked == nil || asked.Owed == nil || told == nil {
		return
	}
	d.mu.Lock()
	d.state.Dismissed = slices.DeleteFunc(d.state.Dismissed, func(h common.Hash) bool { return slices.Contains(asked.Owed.Dismissed, h) })
	d.mu.Unlock()
	if told.Owed != nil {
		d.dismiss(told.Owed.Dismissed, event)
	}
}

// dismiss adds to an event what was read on another device, whether a push or a reply
// says so. It removes previews of those messages from the event, or marks them Read with
// Config.Complete.
func (d *Device) dismiss(hashes []common.Hash, event *Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, hash := range hashes {
		if !slices.Contains(event.Dismissed, hash) {
			event.Dismissed = append(event.Dismissed, hash)
		}
		if !slices.Contains(d.state.Dismissed, hash) {
			d.state.Dismissed = append(d.state.Dismissed, hash)
		}
		if d.complete {
			d.state.Elsewhere.add(markOf(hash))
			continue
		}
		d.state.shown(hash)
		delete(d.given, hash)
	}
	d.state.Dismissed = newest(d.state.Dismissed)
	for _, hash := range hashes {
		at := slices.IndexFunc(event.Previews, func(p Preview) bool { return p.Hash == hash })
		switch {
		case at >= 0 && d.complete:
			event.Previews[at].Read = true
		case at >= 0:
			event.Previews = slices.Delete(event.Previews, at, at+1)
		}
	}
}

func newest(dismissed []common.Hash) []common.Hash {
	return dismissed[max(0, len(dismissed)-maxDismissed):]
}
