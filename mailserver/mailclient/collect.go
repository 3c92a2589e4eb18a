package mailclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

const (
	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute
)

// Collect sends the request, and continues with the cursor of each answer until
// there is no more. It hands over the envelopes of each answer and asks for more
// only after handle has returned nil. So the cursor it returns, even with an error,
// is never past an envelope that was not handled: asking from there misses nothing
// and repeats at most a page.
//
// Collect asks a busy or silent mailserver again, after longer pauses each time, up
// to Config.Retries times in a row. If an answer breaks off, it asks for the whole
// answer again.
func (c *Client) Collect(ctx context.Context, server Server, r mailwire.Request, handle func([]*whisper.Envelope) error) (mailwire.Cursor, error) {
	return c.CollectAnswers(ctx, server, r, func(a Answer) error { return handle(a.Envelopes) })
}

// CollectAnswers is Collect, but hands over whole answers, those that have envelopes.
func (c *Client) CollectAnswers(ctx context.Context, server Server, r mailwire.Request, handle func(Answer) error) (mailwire.Cursor, error) {
	for {
		a, err := patiently(ctx, c, func() (Answer, error) { return c.Ask(ctx, server, r) })
		if err != nil {
			return r.Cursor, err
		}
		if len(a.Envelopes) > 0 {
			if err := handle(a); err != nil {
				return r.Cursor, err
			}
		}
		if !a.More() {
			return a.Cursor, nil
		}
		if a.Cursor == r.Cursor {
			return r.Cursor, ErrNoProgress
		}
		r.Cursor = a.Cursor
	}
}

// patiently asks a mailserver, and asks again after longer pauses each time as long as retry says so, up to
// Config.Retries times.
func patiently[T any](ctx context.Context, c *Client, ask func() (T, error)) (T, error) {
	for failures := 0; ; failures++ {
		answer, err := ask()
		wait, again := retry(err, failures)
		if !again || failures >= c.cfg.Retries {
			return answer, err
		}
		c.cfg.Logger.Debug("mailserver is asked again later", "wait", wait, "err", err)
		if err := sleep(ctx, wait); err != nil {
			return answer, err
		}
	}
}

// retry reports whether a request that failed with err should be sent again, and
// after what time: not before the mailserver allows it, and longer each time, with
// jitter, so that the clients of a mailserver that was down do not all come back at
// once.
func retry(err error, failures int) (time.Duration, bool) {
	var refused *RefusedError
	wait := time.Duration(0)
	switch {
	case errors.Is(err, ErrTimeout):
	case errors.As(err, &refused):
		switch refused.Refusal.Word() {
		case mailwire.RefusedBusy, mailwire.RefusedFailed:
			wait = refused.Refusal.RetryAfter()
		default:
			return 0, false
		}
	default:
		return 0, false
	}
	backoff := min(firstBackoff<<min(failures, 20), maxBackoff)
	return wait + backoff/2 + rand.N(backoff), true
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
