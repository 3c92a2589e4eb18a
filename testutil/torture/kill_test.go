//go:build linux

package torture

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	firstDevices = 10
	mostDevices  = 40
	restless     = 10 // wake-ups after which a device fetches for sure
)

// TestKillNode runs the whole loop against a real node and kills it with
// SIGKILL at a random moment while it archives, registers, matches and
// dispatches, or while it starts; then it starts it again on the same files,
// checks, and goes on.
func TestKillNode(t *testing.T) {
	w := newWorld(t)
	p := &progress{t: t}
	w.rise()
	for i := range firstDevices {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		require.NoError(t, w.enrol(ctx, fmt.Sprintf("device %d", i)))
		cancel()
	}
	slowest, starts := time.Duration(0), 0
	for round := range *roundsFlag {
		w.storm(round)
		if w.rng.IntN(5) == 0 { // again, while it starts
			process, _ := w.site.spawn()
			time.Sleep(between(w.rng, time.Millisecond, 400*time.Millisecond))
			w.kill(process)
			starts++
		}
		w.rise()
		slowest = max(slowest, w.process.took)
		w.aftermath()
		wakeups, repeated, _ := w.judge()
		p.line("round %d of %d: %d envelopes, %d registrations acknowledged; %d wake-ups, %d repeated; 0 lost",
			round+1, *roundsFlag, len(w.acked), len(w.devices), wakeups, repeated)
	}
	w.auditAll()
	wakeups, repeated, merged := w.judge()
	w.process.stop()
	w.link.Stop()
	result(t, "%d kills (%d while starting), %d envelopes and %d registrations acknowledged, 0 lost; %d wake-ups, %d repeated with the collapse id, of which the first had it %d times, 0 missed; slowest start %v",
		*roundsFlag+starts, starts, len(w.acked), len(w.devices), wakeups, repeated, merged, slowest.Round(time.Millisecond))
}

// storm does everything at once for a moment and kills the node in the midst of it.
func (w *world) storm(round int) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	loop := func(pause time.Duration, act func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				act() // fails when the node is gone
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	topics := w.topics()
	fetchers, changer := w.some(2), w.some(1)[0]
	names := w.rng.Perm(1000)
	written := 0
	loop(time.Duration(1+w.rng.IntN(8))*time.Millisecond, func() error {
		// Not more than a wake-up can name, for then it names no hash but says that
		// there are more.
		for range min(3, 12*len(topics)-written) {
			topic := whisper.TopicFor(fmt.Sprintf("noise %d", names[written%10]))
			if written%4 > 0 {
				topic = topics[names[written%len(names)]%len(topics)]
			}
			written++
			if err := w.write(ctx, topic, fmt.Sprintf("round %d, message %d", round, written)); err != nil {
				return err
			}
		}
		return nil
	})
	loop(5*time.Millisecond, func() error { return w.audit(ctx) })
	loop(5*time.Millisecond, func() error {
		for _, d := range fetchers {
			w.fetch(ctx, d)
		}
		return nil
	})
	if len(w.devices) < mostDevices {
		wg.Go(func() { w.enrol(ctx, fmt.Sprintf("device of round %d", round)) })
	} else {
		wg.Go(func() { w.change(ctx, changer, fmt.Sprintf("topic of round %d", round)) })
	}
	time.Sleep(between(w.rng, 5*time.Millisecond, 700*time.Millisecond))
	w.fall()
	cancel()
	wg.Wait()
}

// topics are those that devices listen to.
func (w *world) topics() (topics []whisper.Topic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.devices {
		topics = append(topics, whisper.TopicFor(d.name)) // in a fixed order
	}
	return topics
}

// aftermath checks a node that has just come back.
func (w *world) aftermath() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*patience)
	defer cancel()
	// What was acknowledged has its place in the archive's order: going on from
	// the last cursor must repeat nothing.
	require.NoError(w.t, w.audit(ctx))
	w.mu.Lock()
	for h, n := range w.isAcked {
		require.Equal(w.t, 1, n, "%x was served twice by a cursor that moves on", h[:4])
	}
	w.mu.Unlock()
	// A device that was woken too often without a fetch is left alone, which is a
	// recorded reason; after a fetch it must be woken for the rest.
	var wg sync.WaitGroup
	for _, d := range w.some(mostDevices) {
		w.mu.Lock()
		silent := d.unfetched >= restless
		w.mu.Unlock()
		if silent {
			wg.Go(func() {
				d.Sleep() // the connection is of the life before
				assert.NoError(w.t, w.fetch(ctx, d), d.name)
				d.Sleep()
			})
		}
	}
	wg.Wait()
	w.settle()

	everything := w.crashes%25 == 0
	asked := w.some(3) // each question costs its asker some work
	if everything {
		asked = w.some(mostDevices)
		w.auditAll()
	}
	errs := make(chan error, len(asked))
	for i, d := range asked {
		wg.Go(func() {
			defer d.Sleep()
			d.Sleep() // the connection is of the life before
			err := w.fetch(ctx, d)
			if err == nil && (i == 0 || everything) {
				err = w.registered(ctx, d)
			}
			if err != nil {
				errs <- fmt.Errorf("%s: %w", d.name, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(w.t, err, w.process.stderr)
	}
}

// registered demands that what the server acknowledged of a registration is there.
func (w *world) registered(ctx context.Context, d *device) error {
	status, err := d.Status(ctx)
	if err != nil {
		return err
	}
	if status.State != pushwire.Active || status.Reason != "" {
		return fmt.Errorf("state %v, reason %q", status.State, status.Reason)
	}
	listens := make(map[whisper.Topic]bool)
	for _, c := range status.Channels {
		listens[c.Topic] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for topic := range d.topics {
		if !listens[topic] {
			return fmt.Errorf("an acknowledged channel is lost")
		}
	}
	return nil
}
