package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"whisperpush/pushext/pushwire"
)

const (
	// registerFor is how long RegisterPatiently tries.
	registerFor = 24 * time.Hour
	// firstRegisterPause is how long it waits after the first failure; each later pause is
	// twice as long, up to maxRegisterPause, and all are cut by up to a half at random.
	firstRegisterPause = 30 * time.Second
	maxRegisterPause   = time.Hour
)

// RegisterPatiently is Register that tries for a day where the mailserver cannot be
// reached, has no place now, or has challenged the address too often: with pauses from half a
// minute to an hour, so an app can start it and leave it. A refusal that a later attempt does
// not change, such as ErrExceeds or that the server takes no plain form, a registration that
// makes no sense, and the end of ctx end it at once.
func (d *Device) RegisterPatiently(ctx context.Context, r Registration) error {
	return patiently(ctx, func() error { return d.Register(ctx, r) })
}

func patiently(ctx context.Context, register func() error) error {
	start := time.Now()
	for pause := firstRegisterPause; ; pause = min(2*pause, maxRegisterPause) {
		err := register()
		if err == nil || !passing(err) {
			return err
		}
		next := pause/2 + rand.N(pause/2)
		if time.Since(start)+next > registerFor {
			return fmt.Errorf("client: not registered within %s: %w", registerFor, err)
		}
		if ended := wait(ctx, next); ended != nil {
			return fmt.Errorf("client: not registered yet: %w", errors.Join(ended, err))
		}
	}
}

// passing tells whether what was in the way of a registration may be gone later.
func passing(err error) bool {
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrExceeds) {
		return false
	}
	var gaveUp *GaveUpError
	if errors.As(err, &gaveUp) {
		return true
	}
	for _, code := range [...]pushwire.Code{pushwire.Busy, pushwire.Internal, pushwire.Limit} {
		if IsRefused(err, code) {
			return true
		}
	}
	return false
}
