package desk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/whisper"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask is a request in a test: do is what is done for it.
type ask struct {
	from ID
	no   int
	do   func(ctx context.Context, t *Turn) error
}

// office is a running desk in a bubble, and what became of the requests.
type office struct {
	t    *testing.T
	desk *Desk[*ask]
	stop func()

	mu       sync.Mutex
	served   []*ask
	failed   map[*ask]error
	refused  []*ask
	dropped  []*ask
	why      map[*ask]*Busy
	panics   []any
	refusing func(ctx context.Context, peer ID) error
	no       int
}

// ample are limits that a test does not mean to reach.
func ample() Limits {
	return Limits{Turns: 4, Lent: 64, PerPeer: 16, PerSource: 128, Queue: 1024, Rate: 1e6, Burst: 1e6}
}

func inOffice(t *testing.T, l Limits, test func(t *testing.T, o *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t, failed: make(map[*ask]error), why: make(map[*ask]*Busy)}
		o.desk = New(l, Server[*ask]{
			Serve: func(ctx context.Context, turn *Turn, a *ask) {
				var err error
				if a.do != nil {
					err = a.do(ctx, turn)
				}
				o.mu.Lock()
				defer o.mu.Unlock()
				o.served = append(o.served, a)
				if err != nil {
					o.failed[a] = err
				}
			},
			Refuse: func(ctx context.Context, peer ID, a *ask, why *Busy) error {
				o.mu.Lock()
				o.refused = append(o.refused, a)
				o.why[a] = why
				refusing := o.refusing
				o.mu.Unlock()
				if refusing != nil {
					return refusing(ctx, peer)
				}
				return nil
			},
			Drop: func(a *ask, why *Busy) {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.dropped = append(o.dropped, a)
				o.why[a] = why
			},
			Panicked: func(cause any) {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.panics = append(o.panics, cause)
			},
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		o.stop = sync.OnceFunc(func() { cancel(); <-done })
		defer o.stop()
		go func() { o.desk.Run(ctx); close(done) }()
		synctest.Wait()
		test(t, o)
	})
}

// offer has a peer ask.
func (o *office) offer(from ID, source string, do func(context.Context, *Turn) error) *ask {
	o.no++
	a := &ask{from, o.no, do}
	o.desk.Offer(from, whisper.Source(source), a, time.Now())
	return a
}

// done are the requests that were served, in that order.
func (o *office) done() []*ask {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.served)
}

// after is how long it takes until a request is served.
func (o *office) after(a *ask) time.Duration {
	o.t.Helper()
	start := time.Now()
	synctest.Wait()
	for !slices.Contains(o.done(), a) {
		require.Less(o.t, time.Since(start), time.Hour)
		time.Sleep(time.Millisecond)
		synctest.Wait()
	}
	return time.Since(start)
}

func id(class byte, i int) (id ID) {
	id[0] = class
	binary.BigEndian.PutUint32(id[1:], uint32(i))
	return id
}

// unread is a request whose answer the peer never takes; its wait ends with ctx.
func unread(ctx context.Context, t *Turn) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return t.Lend(ctx, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
}

// held is a request that holds its turn until the function it returns is called.
func held() (do func(context.Context, *Turn) error, release func()) {
	gate := make(chan struct{})
	return func(ctx context.Context, _ *Turn) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return nil
	}, sync.OnceFunc(func() { close(gate) })
}

var alice, bob, carol = ID{0xa1}, ID{0xb0}, ID{0xca}

func TestOneRequestOfAPeerAtATime(t *testing.T) {
	inOffice(t, ample(), func(t *testing.T, o *office) {
		hold, release := held()
		first := o.offer(bob, "b", hold)
		var rest []*ask
		for range 3 {
			rest = append(rest, o.offer(bob, "b", nil))
		}
		other := o.offer(carol, "c", nil)
		synctest.Wait()
		require.Equal(t, []*ask{other}, o.done())
		require.Equal(t, 3, o.desk.Waiting())
		release()
		synctest.Wait()
		require.Equal(t, append([]*ask{other, first}, rest...), o.done())
	})
}

// Sources take turns, and the peers of one among themselves, however much they ask.
func TestSourcesTakeTurns(t *testing.T) {
	l := ample()
	l.Turns = 1
	inOffice(t, l, func(t *testing.T, o *office) {
		hold, release := held()
		o.offer(alice, "a", hold)
		synctest.Wait()
		for range 3 {
			for i := range 20 {
				o.offer(id(1, i), "crowded", nil)
			}
		}
		mate := o.offer(id(2, 0), "crowded", nil)
		b, c := o.offer(bob, "b", nil), o.offer(carol, "c", nil)
		release()
		synctest.Wait()
		place := func(a *ask) int { return slices.Index(o.done(), a) }
		require.LessOrEqual(t, place(b), 2)
		require.LessOrEqual(t, place(c), 3)
		require.LessOrEqual(t, place(mate), 25, "after one request of each of its neighbours")
		require.Len(t, o.done(), 1+60+1+2)
	})
}

// One source holds half of the turns at most, though its requests take long and
// nobody else asks.
func TestSourceLeavesTurns(t *testing.T) {
	inOffice(t, ample(), func(t *testing.T, o *office) {
		hold, release := held()
		defer release()
		for i := range 50 {
			o.offer(id(1, i), "crowded", hold)
		}
		synctest.Wait()
		require.Equal(t, 48, o.desk.Waiting())
		require.Zero(t, o.after(o.offer(bob, "b", nil)))
	})
}

// A flood displaces itself: whoever asks little finds a place, and what gives way is
// the newest request of whoever waits with the most.
func TestAttackFloodDisplacesItself(t *testing.T) {
	l := ample()
	l.Turns, l.Queue, l.PerSource = 1, 64, 16
	inOffice(t, l, func(t *testing.T, o *office) {
		hold, release := held()
		o.offer(alice, "a", hold)
		synctest.Wait()
		for i := range 1000 { // of 10 sources with 10 peers each
			o.offer(id(byte(i%10), i%100), fmt.Sprint("flood ", i%10), nil)
		}
		require.Equal(t, 64, o.desk.Waiting())
		honest := []*ask{o.offer(bob, "b", nil), o.offer(carol, "c", nil)}
		require.Equal(t, 64, o.desk.Waiting())
		release()
		synctest.Wait()
		require.Subset(t, o.done(), honest)
		require.Len(t, o.done(), 65)
		require.Len(t, o.refused, 1001+2-65-len(o.dropped))
		for _, why := range o.why {
			require.Equal(t, &Busy{Retry, LimitQueue}, why)
		}
	})
	// Within a source too.
	inOffice(t, l, func(t *testing.T, o *office) {
		hold, release := held()
		o.offer(alice, "a", hold)
		synctest.Wait()
		var greedy []*ask
		for range l.PerSource {
			greedy = append(greedy, o.offer(id(1, 1), "same", nil))
		}
		honest := o.offer(bob, "same", nil)
		synctest.Wait()
		require.Equal(t, greedy[15:], o.refused)
		require.Equal(t, "too many requests from your network, come back in 15s", o.why[greedy[15]].Error())
		release()
		synctest.Wait()
		require.Contains(t, o.done(), honest)
	})
}

// However many peers do not read, of one network or of many, an honest request waits
// for a second or two, the first time and as they go on.
func TestAttackPeersThatDoNotRead(t *testing.T) {
	for name, source := range map[string]func(i int) string{
		"one source":   func(int) string { return "one" },
		"many sources": func(i int) string { return fmt.Sprint(i) },
	} {
		for _, peers := range []int{4, 40, 400, 1000} {
			t.Run(fmt.Sprintf("%d peers of %s", peers, name), func(t *testing.T) {
				l := ample()
				l.PerSource = 1024
				inOffice(t, l, func(t *testing.T, o *office) {
					for range 10 {
						for i := range peers {
							o.offer(id(1, i), source(i), unread)
						}
					}
					for i := range 5 {
						require.LessOrEqual(t, o.after(o.offer(id(2, 2*i), "honest", nil)), 2*time.Second)
						require.LessOrEqual(t, o.after(o.offer(id(2, 2*i+1), source(0), nil)), 2500*time.Millisecond, "a neighbour")
						time.Sleep(3 * time.Second)
						for i := range peers {
							o.offer(id(1, i), source(i), unread)
						}
					}
				})
			})
		}
	}
}

// A peer that does not read for a moment keeps its request, gets its turn back and
// is no longer slow once it reads; whoever was slowest is given up first.
func TestLend(t *testing.T) {
	l := ample()
	l.Turns, l.Lent = 1, 2
	inOffice(t, l, func(t *testing.T, o *office) {
		slowFor := func(d time.Duration) func(context.Context, *Turn) error {
			return func(ctx context.Context, turn *Turn) error {
				return turn.Lend(ctx, func(ctx context.Context) error {
					select {
					case <-time.After(d):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
			}
		}
		a := o.offer(alice, "a", slowFor(10*time.Second))
		require.Equal(t, Stall, o.after(o.offer(bob, "b", nil)), "the only turn was alice's")
		require.Equal(t, 1, o.desk.Stalled())
		b := o.offer(bob, "b", slowFor(time.Minute))
		require.Equal(t, Stall, o.after(o.offer(carol, "c", nil)))
		require.Equal(t, 10*time.Second-2*Stall, o.after(a).Round(time.Millisecond))
		require.Empty(t, o.failed)

		a = o.offer(alice, "a", slowFor(time.Minute))
		require.Zero(t, o.after(o.offer(carol, "c", nil)), "alice was slow: her turn is lent at once")
		c := o.offer(carol, "c", slowFor(time.Minute))
		require.Equal(t, Stall, o.after(b))
		require.ErrorIs(t, o.failed[b], ErrGivenUp)
		require.ErrorIs(t, o.failed[b], context.Canceled)
		o.stop()
		for _, one := range []*ask{a, c} {
			require.ErrorIs(t, o.failed[one], context.Canceled)
			require.NotErrorIs(t, o.failed[one], ErrGivenUp)
		}
	})
}

// Of the peers that do not read, those of the source with the most are given up, and
// a slow one of another is not.
func TestAttackSourceGivesUpItsOwn(t *testing.T) {
	inOffice(t, ample(), func(t *testing.T, o *office) {
		slow := o.offer(bob, "b", unread)
		for i := range 500 {
			o.offer(id(1, i), "one", unread)
		}
		require.Equal(t, 15*time.Second, o.after(slow))
		require.NotErrorIs(t, o.failed[slow], ErrGivenUp)
		require.LessOrEqual(t, o.desk.Stalled(), 64/sourceLent)
	})
}

// A turn that was lost with an error can be had back.
func TestTake(t *testing.T) {
	l := ample()
	l.Turns = 1
	inOffice(t, l, func(t *testing.T, o *office) {
		hold, release := held()
		lost, had := make(chan struct{}), make(chan struct{})
		a := o.offer(alice, "a", func(ctx context.Context, turn *Turn) error {
			turn.Take() // it has it
			err := turn.Lend(ctx, func(context.Context) error {
				time.Sleep(time.Second)
				return errors.New("gone")
			})
			close(lost)
			turn.Take()
			close(had)
			return err
		})
		o.offer(bob, "b", hold)
		<-lost
		synctest.Wait()
		select {
		case <-had:
			require.Fail(t, "bob has the only turn")
		default:
		}
		release()
		<-had
		synctest.Wait()
		require.EqualError(t, o.failed[a], "gone")
	})
}

// Strangers leave a share of turns, places and lent turns to proven peers, and
// proven peers to strangers.
func TestClassesLeaveEachOtherTheirShare(t *testing.T) {
	vouched := func(o *office, i int, account string) {
		o.after(o.offer(id(9, i), fmt.Sprint("p", i), func(_ context.Context, turn *Turn) error {
			turn.Vouch(account)
			return nil
		}))
	}
	l := ample()
	l.Queue, l.PerSource = 64, 16
	inOffice(t, l, func(t *testing.T, o *office) {
		vouched(o, 0, "account")
		hold, release := held()
		for i := range 100 {
			o.offer(id(1, i), fmt.Sprint(i), hold)
		}
		synctest.Wait()
		require.Equal(t, 64, o.desk.Waiting())
		require.Zero(t, o.after(o.offer(id(9, 0), "p0", nil)))
		release()
	})
	inOffice(t, l, func(t *testing.T, o *office) {
		for i := range 100 {
			vouched(o, i, fmt.Sprint("account ", i))
		}
		hold, release := held()
		for i := range 100 {
			o.offer(id(9, i), fmt.Sprint("p", i), hold)
		}
		synctest.Wait()
		require.Zero(t, o.after(o.offer(bob, "b", nil)))
		release()
	})
	// What does not read is given up in the class that has more of it.
	inOffice(t, ample(), func(t *testing.T, o *office) {
		vouched(o, 0, "account")
		slow := o.offer(id(9, 0), "p0", unread)
		for i := range 500 {
			o.offer(id(1, i), fmt.Sprint(i), unread)
		}
		require.Equal(t, 15*time.Second, o.after(slow))
		require.NotErrorIs(t, o.failed[slow], ErrGivenUp)
	})
}

// All links of one account count as one, and for an hour.
func TestAccountIsOne(t *testing.T) {
	inOffice(t, ample(), func(t *testing.T, o *office) {
		hold, release := held()
		for i := range 50 {
			o.after(o.offer(id(9, i), fmt.Sprint("p", i), func(_ context.Context, turn *Turn) error {
				require.Equal(t, id(9, i), turn.Peer())
				turn.Vouch("the same")
				return nil
			}))
		}
		for i := range 50 {
			o.offer(id(9, i), fmt.Sprint("p", i), hold)
		}
		synctest.Wait()
		require.Equal(t, 48, o.desk.Waiting())
		release()
		synctest.Wait()

		time.Sleep(vouchLife + time.Second)
		hold, release = held()
		defer release()
		for i := range 50 {
			o.offer(id(9, i), fmt.Sprint("p", i), hold)
		}
		synctest.Wait()
		require.Equal(t, 47, o.desk.Waiting(), "strangers again, and so many sources")
	})
	// Where all prove the same they count by source.
	inOffice(t, ample(), func(t *testing.T, o *office) {
		hold, release := held()
		defer release()
		for range 2 {
			for i := range 50 {
				o.offer(id(9, i), fmt.Sprint("p", i), func(ctx context.Context, turn *Turn) error {
					turn.Vouch("")
					turn.Vouch("") // once more changes nothing
					return hold(ctx, turn)
				})
			}
		}
		synctest.Wait()
		require.Equal(t, 96, o.desk.Waiting())
	})
}

func TestRate(t *testing.T) {
	l := ample()
	l.Rate, l.Burst = 0.1, 3
	inOffice(t, l, func(t *testing.T, o *office) {
		for range 3 {
			o.offer(bob, "b", nil)
		}
		over := o.offer(bob, "b", nil)
		other := o.offer(carol, "b", nil)
		synctest.Wait()
		require.Len(t, o.done(), 4)
		require.Contains(t, o.done(), other)
		require.Equal(t, &Busy{10 * time.Second, LimitRate}, o.why[over])
		time.Sleep(10 * time.Second)
		require.Zero(t, o.after(o.offer(bob, "b", nil)))
	})
}

// Refusals are bounded: of a peer, of a source and in all, and by time. A peer that
// does not take one gets no other.
func TestAttackRefusalsAreBounded(t *testing.T) {
	l := ample()
	l.PerPeer = 1
	inOffice(t, l, func(t *testing.T, o *office) {
		hold, release := held()
		for i := range 1000 { // each asks three times: one is out, one waits
			for range 3 {
				o.offer(id(1, i), fmt.Sprint(i/20), hold)
			}
		}
		synctest.Wait()
		require.LessOrEqual(t, len(o.refused), maxRefusals)
		told := make(map[string]int)
		for _, a := range o.refused {
			told[fmt.Sprint(binary.BigEndian.Uint32(a.from[1:])/20)]++
		}
		for _, n := range told {
			require.LessOrEqual(t, n, refusalsPerSource)
		}
		require.Positive(t, len(o.refused))
		release()
		synctest.Wait()
		require.Equal(t, 3000, len(o.served)+len(o.refused)+len(o.dropped))

		before := len(o.refused)
		for range 100 { // for ten seconds
			for i := range 20 {
				o.offer(id(1, i), fmt.Sprint(i), unread)
				o.offer(id(1, i), fmt.Sprint(i), unread)
				o.offer(id(1, i), fmt.Sprint(i), unread)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		require.LessOrEqual(t, len(o.refused)-before, maxRefusals+10*refusalsPerSecond)
	})
	inOffice(t, l, func(t *testing.T, o *office) {
		o.refusing = func(ctx context.Context, _ ID) error {
			<-ctx.Done()
			return ctx.Err()
		}
		hold, release := held()
		defer release()
		for range 5 {
			o.offer(bob, "b", hold)
		}
		time.Sleep(refusalTimeout)
		synctest.Wait()
		require.Len(t, o.refused, 1)
		o.offer(bob, "b", hold)
		synctest.Wait()
		require.Len(t, o.refused, 1, "it did not take the one before")
	})
}

// A panic costs the request alone, wherever it is.
func TestPanic(t *testing.T) {
	l := ample()
	l.Turns, l.PerPeer = 1, 1
	inOffice(t, l, func(t *testing.T, o *office) {
		o.offer(alice, "a", func(context.Context, *Turn) error { panic("serving") })
		o.offer(bob, "b", func(ctx context.Context, turn *Turn) error {
			return turn.Lend(ctx, func(context.Context) error {
				time.Sleep(time.Second)
				panic("lending")
			})
		})
		require.LessOrEqual(t, o.after(o.offer(carol, "c", nil)), Stall)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []any{"serving", "lending"}, o.panics)
		require.Zero(t, o.desk.Stalled())

		o.refusing = func(context.Context, ID) error { panic("refusing") }
		hold, release := held()
		for range 3 {
			o.offer(alice, "a", hold)
		}
		synctest.Wait()
		require.Equal(t, []any{"serving", "lending", "refusing"}, o.panics)
		release()
		require.Zero(t, o.after(o.offer(bob, "b", nil)))
		synctest.Wait()
		require.Equal(t, 1, o.desk.room.free)
	})
}

// A crowd of names is forgotten, the idle ones first, and those that proved
// themselves are not crowded out by strangers.
func TestAttackNamesAreForgotten(t *testing.T) {
	inOffice(t, ample(), func(t *testing.T, o *office) {
		o.after(o.offer(bob, "b", func(_ context.Context, turn *Turn) error {
			turn.Vouch("bob")
			return nil
		}))
		hold, release := held()
		defer release()
		o.offer(carol, "c", hold)
		for i := range 3 * maxPeers {
			o.offer(id(1, i), fmt.Sprint(i%100), nil)
			synctest.Wait()
		}
		r := o.desk.room
		require.Len(t, r.peers, maxPeers)
		require.LessOrEqual(t, len(r.groups), 102)
		require.Equal(t, proven, r.peers[bob].group.key.class)
		require.Contains(t, r.peers, carol)
	})
}

// What one source has waiting makes the desk look crowded to that source alone.
func TestLoad(t *testing.T) {
	inOffice(t, ample(), func(t *testing.T, o *office) {
		hold, release := held()
		defer release()
		for i := range 130 {
			o.offer(id(1, i), "one", hold)
		}
		synctest.Wait()
		require.EqualValues(t, 1, o.desk.Load("one"))
		require.Less(t, o.desk.Load("other"), 0.01)
		for i := range 514 {
			o.offer(id(2, i), fmt.Sprint(i), hold)
		}
		synctest.Wait()
		require.InDelta(t, 0.5, o.desk.Load("other"), 0.01)
	})
}

// A request offered before the desk runs is served once it does; one that waits when
// it stops is forgotten.
func TestRunAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served []int
		d := New(ample(), Server[int]{
			Serve: func(ctx context.Context, _ *Turn, n int) {
				if served = append(served, n); n > 0 {
					<-ctx.Done()
				}
			},
		})
		d.Offer(bob, "b", 0, time.Now())
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { d.Run(ctx); close(done) }()
		synctest.Wait()
		require.Equal(t, []int{0}, served)
		d.Offer(bob, "b", 1, time.Now())
		d.Offer(bob, "b", 2, time.Now())
		synctest.Wait()
		cancel()
		<-done
		d.Offer(carol, "c", 3, time.Now())
		synctest.Wait()
		require.Equal(t, []int{0, 1}, served)
	})
}
