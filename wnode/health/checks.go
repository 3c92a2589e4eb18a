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
	// FollowPatience is for how long matching may stand still behind the archive.
	FollowPatience = 2 * time.Minute
	// LeastFree is the free space, in bytes, below which a disk counts as full: what arrives within minutes, or one
	// compaction, takes as much.
	LeastFree = 256 << 20
	// MostSkew is how wrong the clock may be. Push services refuse what is signed more than a minute or so in the
	// future, and devices' requests are refused outside five minutes.
	MostSkew = 30 * time.Second

	clockPatience = 2 * time.Second
	clockFresh    = 15 * time.Minute
	clockAgain    = time.Minute
)

// Follower checks that matching, whose place is position, follows an archive, whose newest sequence is newest.
func Follower(position, newest func() uint64) func(context.Context) error {
	var mu sync.Mutex
	var last uint64
	var since time.Time // when it was first seen to be behind, at last; zero: it was not
	return func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		end := newest() // before the place, which is then not behind by what came between
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

// Disk checks the free space, in bytes, that free tells of dir.
func Disk(dir string, free func(dir string) (uint64, error)) func(context.Context) error {
	return func(context.Context) error {
		n, err := free(dir)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil // this system does not tell
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

// Provider is what Providers knows of one.
type Provider struct {
	Name            string
	Failing, Paused bool
}

// Down reports that a provider wakes nobody.
func (p Provider) Down() bool { return p.Failing || p.Paused }

// Providers checks that not all providers are down.
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

// Clock checks the clock against that of others, which ask tells; ok is false if nobody told it. One that agrees is not
// asked again for clockFresh, others for clockAgain.
func Clock(ask func(ctx context.Context) (there time.Time, ok bool)) func(context.Context) error {
	var mu sync.Mutex
	var next time.Time // not asked before
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
			return result // that a service is away is for others to say
		}
		if skew := time.Since(there); skew.Abs() > MostSkew {
			result = fmt.Errorf("this computer's clock is %v off that of a push service, which then refuses what is signed here; turn on time synchronisation (timedatectl set-ntp true)", skew.Round(time.Second))
			return result
		}
		next, result = time.Now().Add(clockFresh), nil
		return nil
	}
}
