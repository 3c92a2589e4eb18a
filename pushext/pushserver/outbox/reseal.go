package outbox

import (
	"context"

	"whisperpush/pushext/pushserver/registration"
)

// Reseal seals with the current disk key the chains that were sealed with a former one,
// and returns how many once that is on disk.
func (o *Outbox) Reseal(ctx context.Context) (n int, err error) {
	err = o.records(ctx, func(id registration.ID, d *device, err error) error {
		if err != nil || len(d.sealed) == 0 || o.store.Current(Key(id), d.sealed) {
			return nil // damage is logged when it is loaded
		}
		n++
		o.mu.Lock()
		defer o.mu.Unlock()
		held, err := o.load(id)
		if err == nil {
			o.touch(held)
		}
		return err
	})
	if err == nil && n > 0 {
		err = o.Synced(ctx)
	}
	return n, err
}
