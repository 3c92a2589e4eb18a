package client

import "context"

// inheritBack is how far before a mailserver's latest answer the history of the next one
// begins, in seconds: a server may have withheld something before it fell silent. What
// the app has is asked for again, and not given again.
const inheritBack = 24 * 3600

// Inherit takes over from the device at another mailserver which messages the app has, so
// that neither gives it one that the other has given, and lets the first History begin a
// day before that mailserver answered last. Say Shown before, or do it again after: what
// waits for Shown is not taken over.
func (d *Device) Inherit(ctx context.Context, from *Device) error {
	from.mu.Lock()
	known := append([]mark(nil), from.state.Known.list...)
	elsewhere := append([]mark(nil), from.state.Elsewhere.list...)
	since := max(from.state.Since, max(from.state.Heard, inheritBack)-inheritBack)
	from.mu.Unlock()
	d.mu.Lock()
	for _, k := range known {
		d.state.Known.add(k)
	}
	for _, k := range elsewhere {
		d.state.Elsewhere.add(k)
	}
	if since < d.state.Since && len(d.state.Cursor) == 0 {
		d.state.Since, d.state.Begin = since, 0
	}
	d.mu.Unlock()
	return d.save(ctx)
}
