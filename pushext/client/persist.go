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
	// firstRegisterPause is how long it waits after the first failure. Each later pause is
	// twice as long, up to maxRegisterPause; a random part of up to a half is cut from every
	// pause.
	firstRegisterPause = 30 * time.Second
	maxRegisterPause   = time.Hour
)

// RegisterPatiently is Register that keeps trying for a day while the mailserver cannot be
// reached, has no room now, or has challenged the address too often. It pauses between
// attempts, at first for up to half a minute and later for up to an hour, so an app can start
// it and leave it. It ends at once with the end of ctx, with an invalid registration, and
// with a refusal that a later attempt would not change, such as ErrExceeds or a server that
// refuses the plain form.
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

// passing tells whether the obstacle to a registration may be gone later.
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
