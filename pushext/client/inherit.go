package client

import "context"

// inheritBack is how far before the old mailserver's latest answer the history at the
// next one begins, in seconds: a server may have withheld something before it fell
// silent. Messages that the app has are requested again, but not given again.
const inheritBack = 24 * 3600

// Inherit copies, from the device at another mailserver, which messages the app has, so
// that neither device gives it a message that the other has given. It lets the first
// History begin a day before that mailserver last answered. Call Shown before Inherit,
// or call Inherit again after it: messages that wait for Shown are not copied.
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
