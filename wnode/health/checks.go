package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// FollowPatience is how long matching may stand still behind the archive.
	FollowPatience = 2 * time.Minute
	// LeastFree is the free space, in bytes, below which a disk counts as full: the mail of a few minutes, or one
	// compaction, takes as much.
	LeastFree = 256 << 20
	// MostSkew is how wrong the clock may be. Push services refuse what is signed more than about a minute in the future,
	// and requests of devices are refused outside five minutes.
	MostSkew = 30 * time.Second

	clockPatience = 2 * time.Second
	clockFresh    = 15 * time.Minute
	clockAgain    = time.Minute
)

// Follower checks that matching, which has reached position, keeps up with an archive whose newest sequence is newest.
func Follower(position, newest func() uint64) func(context.Context) error {
	var mu sync.Mutex
	var last uint64
	var since time.Time // when position was first seen at last behind the archive; zero: it is not behind
	return func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		end := newest() // before position, so that envelopes in between do not make it look behind
		at := position()
		if at >= end {
			since = time.Time{}
			return nil
		}
		if at != last || since.IsZero() {
			last, since = at, time.Now()
			return nil
		}
		if stands := time.Since(since); stands > FollowPatience {
			return fmt.Errorf("matching has stood still for %v at sequence %d of %d, so nobody is woken for what was archived since; see the log for what stops it, and restart the node",
				stands.Round(time.Second), at, end)
		}
		return nil
	}
}

// Disk checks the free space, in bytes, that free returns for dir.
func Disk(dir string, free func(dir string) (uint64, error)) func(context.Context) error {
	return func(context.Context) error {
		n, err := free(dir)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil // this system cannot tell
		}
		if err != nil {
			return fmt.Errorf("the free space of %s cannot be told: %w", dir, err)
		}
		if n < LeastFree {
			return fmt.Errorf("only %d MiB are free at %s; make room, or set Mailserver.MaxBytes or a shorter --mailserver.retention", n>>20, dir)
		}
		return nil
	}
}

// Provider is what Providers needs to know about one.
type Provider struct {
	Name            string
	Failing, Paused bool
}

// Down reports whether a provider wakes nobody.
func (p Provider) Down() bool { return p.Failing || p.Paused }

// Providers checks that at least one provider is not down.
func Providers(states func() []Provider) func(context.Context) error {
	return func(context.Context) error {
		var names []string
		all := states()
		for _, p := range all {
			if p.Down() {
				names = append(names, p.Name)
			}
		}
		if len(all) == 0 || len(names) < len(all) {
			return nil
		}
		return fmt.Errorf("no push service takes wake-ups (%s), so they wait; the log has the cause of each, and wnode doctor tries them", strings.Join(names, ", "))
	}
}

// Clock checks the clock against the time that ask returns; ok is false if nobody told it. After a clock that agrees it
// waits for clockFresh before asking again, otherwise for clockAgain.
func Clock(ask func(ctx context.Context) (there time.Time, ok bool)) func(context.Context) error {
	var mu sync.Mutex
	var next time.Time // no question before this time
	var result error
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(next) {
			return result
		}
		ctx, cancel := context.WithTimeout(ctx, clockPatience)
		defer cancel()
		there, ok := ask(ctx)
		next = time.Now().Add(clockAgain)
		if !ok {
			return result // other checks report that a service is away
		}
		if skew := time.Since(there); skew.Abs() > MostSkew {
			result = fmt.Errorf("this computer's clock is %v off that of a push service, which then refuses what is signed here; turn on time synchronisation (timedatectl set-ntp true)", skew.Round(time.Second))
			return result
		}
		next, result = time.Now().Add(clockFresh), nil
		return nil
	}
}
