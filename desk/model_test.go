package desk

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// step is what happens next in a run of the model.
type step struct {
	peer, source int
	work         time.Duration // for which it holds its turn
	reads        time.Duration // after which it takes its answer
	vouch        int           // its account; 0: it proves nothing
	panics       bool
	pause        time.Duration
}

// Whatever peers do, the limits hold, what is counted is right, every request ends
// in one way, and the requests of a peer are served in their order, one at a time.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := Limits{
			Turns: rapid.IntRange(1, 6).Draw(rt, "turns"), Lent: rapid.IntRange(1, 8).Draw(rt, "lent"),
			PerPeer: rapid.IntRange(1, 4).Draw(rt, "per peer"), PerSource: rapid.IntRange(1, 8).Draw(rt, "per source"),
			Queue: rapid.IntRange(1, 20).Draw(rt, "queue"), Rate: 5, Burst: rapid.IntRange(2, 20).Draw(rt, "burst"),
		}
		times := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 100 * time.Millisecond, time.Second, 20 * time.Second})
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				peer: rapid.IntRange(0, 12).Draw(rt, "peer"), source: rapid.IntRange(0, 3).Draw(rt, "source"),
				work: times.Draw(rt, "work"), reads: times.Draw(rt, "reads"), pause: times.Draw(rt, "pause") / 10,
				vouch: rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(rt, "vouch"), panics: rapid.IntRange(0, 9).Draw(rt, "panics") == 0,
			}
		}), 1, 80).Draw(rt, "steps")
		inOffice(t, l, func(t *testing.T, o *office) {
			offered, busy := 0, make(map[int]bool) // by peer
			last := make(map[int]int)
			for _, s := range steps {
				offered++
				no := offered
				o.offer(id(1, s.peer), fmt.Sprint(s.source), func(ctx context.Context, turn *Turn) error {
					o.mu.Lock()
					require.False(t, busy[s.peer])
					require.Less(t, last[s.peer], no)
					busy[s.peer], last[s.peer] = true, no
					o.mu.Unlock()
					defer func() {
						o.mu.Lock()
						busy[s.peer] = false
						o.mu.Unlock()
					}()
					time.Sleep(s.work)
					if s.vouch > 0 {
						turn.Vouch([]string{"", "a", "b"}[s.vouch-1])
					}
					o.check()
					err := turn.Lend(ctx, func(ctx context.Context) error {
						select {
						case <-time.After(s.reads):
						case <-ctx.Done():
							return ctx.Err()
						}
						if s.panics {
							panic("reading")
						}
						return nil
					})
					o.check()
					if errors.Is(err, ErrGivenUp) {
						turn.Take()
					}
					return nil
				})
				o.check()
				time.Sleep(s.pause)
				o.check()
			}
			time.Sleep(time.Hour)
			o.check()
			o.mu.Lock()
			defer o.mu.Unlock()
			require.Equal(t, offered, len(o.served)+len(o.refused)+len(o.dropped)+len(o.panics))
			r := o.desk.room
			require.Equal(t, l.Turns, r.free)
			require.Zero(t, r.waiting)
			require.Zero(t, r.lent.Len()+r.returning.Len())
		})
	})
}

// check counts again what the room counts.
func (o *office) check() {
	t, r := o.t, o.desk.room
	r.mu.Lock()
	defer r.mu.Unlock()
	var total sums
	var asking, idle, out int
	groups := make(map[*group]*sums)
	members := make(map[*group]int)
	for _, p := range r.peers {
		require.LessOrEqual(t, len(p.asks), r.limits.PerPeer)
		g := p.group
		if groups[g] == nil {
			groups[g] = new(sums)
		}
		require.Same(t, g, r.groups[g.key])
		members[g]++
		groups[g].add(p.sums(), 1)
		total.add(p.sums(), 1)
		asking += min(len(p.asks), 1)
		if p.turn != nil {
			out++
		} else if len(p.asks) > 0 {
			require.Same(t, &g.ready, p.in)
		} else if !p.telling {
			require.Same(t, &g.class.idle, p.in)
			idle++
		}
		_, waits := g.waits[p]
		require.Equal(t, len(p.asks) > 0, waits)
	}
	require.Len(t, r.groups, len(groups))
	var held, ring int
	for g, s := range groups {
		require.Equal(t, *s, g.sums)
		require.Equal(t, members[g], g.members)
		_, waits := g.class.waits[g]
		require.Equal(t, s.waiting > 0, waits)
		require.Equal(t, g.ready.Len() > 0 && g.held < max(1, r.limits.Turns/sourceTurns), g.place != nil)
		held += s.held
		if g.place != nil {
			ring++
		}
	}
	require.Equal(t, total, sums{r.waiting, r.limits.Turns - r.free, r.lent.Len()})
	require.Equal(t, asking, r.asking)
	require.Equal(t, ring, r.classes[0].ring.Len()+r.classes[1].ring.Len())
	require.Equal(t, idle, r.classes[0].idle.Len()+r.classes[1].idle.Len())
	require.LessOrEqual(t, total.waiting, r.limits.Queue)
	require.GreaterOrEqual(t, r.free, 0)
	require.LessOrEqual(t, total.lent, r.limits.Lent)
	require.LessOrEqual(t, r.out, r.limits.Turns+r.limits.Lent)
	require.LessOrEqual(t, out, r.out, "one more may be on its way out")
}
