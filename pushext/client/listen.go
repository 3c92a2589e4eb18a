package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"whisperpush/pushext/pushwire"
)

const (
	// maxRings is how many rings wait for Listen. Beyond that the oldest are
	// dropped, because the newest names everything that waits.
	maxRings = 16
	// showEvery is how often a listening device shows that it is there, so that
	// it notices when the server has forgotten it.
	showEvery = 4 * time.Minute
	// maxListenPause bounds the growing pause before a lost link is dialled again.
	maxListenPause = time.Minute
)

// errLost says that the link on which the device listened has ended.
var errLost = errors.New("client: link lost")

// DirectRoute is the route by which a server rings the device over its own
// connection, without a push service. provider is the server's name for it,
// usually "direct". Put it before the other routes: those are rung when the
// device is not connected.
func (d *Device) DirectRoute(provider string) (pushwire.Route, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	account, err := d.state.account()
	if err != nil {
		return pushwire.Route{}, err
	}
	return pushwire.Route{Provider: provider, Address: account[:]}, nil
}

// Listen stays connected and hands the body of each wake-up that the server
// sends over the link to ring, which usually passes it to Receive. It runs
// until ctx ends or ring fails. When the link is lost, it connects again by
// itself, and the server then rings for what was missed. When the server no
// longer wakes the device, Listen ends with the server's refusal: Register, and
// listen again.
func (d *Device) Listen(ctx context.Context, ring func(body []byte) error) error {
	d.mu.Lock()
	d.listens++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.listens--
		d.mu.Unlock()
	}()
	for pause := firstPause; ; {
		s, err := d.appear(ctx)
		var refusal *pushwire.RefusalError
		switch {
		case err == nil:
			pause = firstPause
			if err := d.hear(ctx, s, ring); !errors.Is(err, errLost) {
				return err
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrClosed), errors.Is(err, ErrInactive), errors.As(err, &refusal) && refusal.Code == pushwire.NotRegistered:
			return err
		default:
			d.logger.Debug("cannot listen now, trying again", "err", err)
			if err := wait(ctx, pause); err != nil {
				return err
			}
			pause = min(2*pause, maxListenPause)
		}
	}
}

// ErrInactive says that the server holds a registration of the device but does
// not wake it; the text tells why.
var ErrInactive = errors.New("client: the server does not wake this device")

// appear connects where needed, and shows the server where to reach the device,
// with a request for its status.
func (d *Device) appear(ctx context.Context) (*session, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	x, err := d.ask(ctx, new(pushwire.Status))
	if err == nil {
		err = d.save(ctx)
	}
	switch {
	case err != nil:
		return nil, err
	case x.reply.Error() != nil:
		return nil, fmt.Errorf("client: listen: %w", x.reply.Error())
	case x.reply.State != pushwire.Active:
		return nil, fmt.Errorf("%w: it is %s %s", ErrInactive, x.reply.State, x.reply.Reason)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == nil {
		return nil, errLost
	}
	return d.session, nil
}

// hear handles rings until the link ends.
func (d *Device) hear(ctx context.Context, s *session, ring func(body []byte) error) error {
	linked, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.road.life(), func() { cancel(errLost) })
	defer func() {
		stop()
		cancel(nil)
	}()
	show := time.NewTicker(showEvery)
	defer show.Stop()
	for {
		select {
		case body := <-d.rings:
			if err := ring(body); err != nil {
				return err
			}
		case <-show.C:
			if now, err := d.appear(linked); err != nil || now != s {
				return errLost // Listen finds out why
			}
		case <-linked.Done():
			return context.Cause(linked)
		}
	}
}

// rang keeps a ring for Listen, and drops the oldest one if there is no room.
func rang(rings chan []byte, body []byte) {
	for {
		select {
		case rings <- body:
			return
		default:
		}
		select {
		case <-rings:
		default:
		}
	}
}
