//go:build linux

package chaos

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// offering is how long a message may take from its writer to the database.
const offering = 2 * time.Second

// judge is the oracle.
func (w *world) judge() {
	t := w.t
	all, received, err := w.log(t.Context())
	require.NoError(t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq, h := range w.archive {
		assert.Equal(t, h, all[seq], "an archived envelope is lost, sequence %d", seq)
	}
	twice := map[common.Hash]bool{}
	for seq := uint64(1); seq <= uint64(len(all)); seq++ {
		h, ok := all[seq]
		assert.True(t, ok, "the log has a gap at %d", seq)
		assert.False(t, twice[h], "an envelope is archived twice")
		twice[h] = true
	}
	refused, unarchived, unwoken, unshown, late, repeated := 0, 0, 0, 0, 0, 0
	slowest := time.Duration(0)
	for h, p := range w.posted {
		d := p.to
		at, archived := received[h]
		d.mu.Lock()
		woken, ok := d.covered[h]
		shown := d.shown[h]
		d.mu.Unlock()
		switch {
		case !archived && w.refused(p):
			refused++
			continue
		case !archived:
			unarchived++
			continue
		case !ok:
			unwoken++
			fmt.Printf("cluster: nobody was woken for %s, archived at %s\n", short(h), at.Format("15:04:05.000"))
			continue
		case !shown:
			unshown++
		}
		took := woken.Sub(at)
		slowest = max(slowest, took)
		if took > promised && !w.away.excuse(at, woken) {
			late++
			fmt.Printf("cluster: woken for %s after %v, archived at %s\n", short(h), took.Round(time.Millisecond), at.Format("15:04:05.000"))
		}
	}
	for i, d := range w.devices {
		for broken, n := range d.repeated {
			repeated += n
			assert.LessOrEqual(t, n, 1, "device %d was woken %d times for nothing new after %d things were broken", i, n, broken)
		}
	}
	assert.Zero(t, unarchived, "messages that no node took")
	assert.Zero(t, unwoken, "matches without a wake-up")
	assert.Zero(t, unshown, "messages that were not fetched")
	assert.Zero(t, late, "wake-ups that came too late")
	assert.Zero(t, w.wrong.Load(), "versions of registrations that went back")
	fmt.Printf("cluster: done: %d things broken, %d complaints of full disks, %d devices, %d messages, %d of them refused, %d archived envelopes seen, 0 lost; %d matches without a wake-up, %d late, slowest %v; %d wake-ups repeated; %d registrations renewed, %d versions went back\n",
		w.broken.Load(), w.full, len(w.devices), len(w.posted), refused, len(w.archive), unwoken, late, slowest.Round(time.Millisecond), repeated, w.renewed.Load(), w.wrong.Load())
}

// refused tells whether all nodes may have refused a message that is not in the log, each of
// which its writer offers it to once: the database was away then. That nobody has acknowledged.
func (w *world) refused(p post) bool {
	now := time.Now()
	for _, s := range w.away.all(now) {
		if p.at.Before(s.to) && p.at.After(s.from.Add(-offering)) {
			return true
		}
	}
	return false
}

// tell prints what the nodes logged last, if the test has failed.
func (w *world) tell() {
	if !w.t.Failed() {
		return
	}
	for _, n := range w.nodes {
		fmt.Printf("== %s\n%s\n", n.name, n.stderr.String())
	}
}
