package whisper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var seatsNow = time.Unix(1_700_000_000, 0)

const never time.Duration = -1

// seatOf returns a seat that is so old and was useful and proved so long ago.
func seatOf(source string, age, usefulAgo, provedAgo time.Duration) *seat {
	s := &seat{source: Source(source), since: seatsNow.Add(-age), counts: true}
	if usefulAgo != never {
		s.useful.Store(seatsNow.Add(-usefulAgo).UnixNano())
	}
	if provedAgo != never {
		s.proved.Store(seatsNow.Add(-provedAgo).UnixNano())
	}
	return s
}

// asking has a request come over a link so long ago.
func asking(s *seat, ago time.Duration) *seat {
	s.asks.asked(seatsNow.Add(-ago))
	return s
}

func TestWhoGivesWay(t *testing.T) {
	idleSince := func(source string, age time.Duration) *seat { return seatOf(source, age, never, never) }
	type seatsIn = []*seat
	for _, tt := range []struct {
		name  string
		seats seatsIn // the newcomer is the last
		want  int     // -1: none
		use   use
	}{
		{"there is room", seatsIn{idleSince("a", time.Hour), idleSince("a", time.Hour), idleSince("b", 0)}, -1, idle},
		{"the longest idle", seatsIn{
			idleSince("a", time.Hour), idleSince("b", 2*time.Hour), idleSince("c", time.Minute), idleSince("d", time.Minute), idleSince("e", 0),
		}, 1, idle},
		{"of the network with the most links, new ones counted", seatsIn{
			idleSince("a", time.Hour), idleSince("b", time.Minute), idleSince("b", 0), idleSince("d", time.Hour), idleSince("e", 0),
		}, 1, idle},
		{"idle before new", seatsIn{
			idleSince("a", 0), idleSince("b", 0), idleSince("c", linkGrace), idleSince("d", 0), idleSince("e", 0),
		}, 2, idle},
		{"used, but long ago", seatsIn{
			seatOf("a", time.Hour, usefulHold-1, never), seatOf("b", time.Hour, usefulHold, never),
			seatOf("c", time.Hour, never, provedHold-1), idleSince("d", 0), idleSince("e", 0),
		}, 1, idle},
		{"who just came idle has the older sign of life", seatsIn{
			seatOf("a", time.Hour, 3*time.Minute, never), seatOf("b", time.Hour, never, 16*time.Minute), idleSince("c", 17*time.Minute), idleSince("d", 0), idleSince("e", 0),
		}, 2, idle},
		{"new before used, while those leave room", seatsIn{
			seatOf("a", time.Hour, 0, never), seatOf("b", time.Hour, 0, never), seatOf("c", time.Hour, never, 0), idleSince("d", time.Second), idleSince("e", 0),
		}, 3, fresh},
		{"the newcomer's own network gives way", seatsIn{
			idleSince("a", 2), idleSince("a", 1), idleSince("c", 10*time.Second), idleSince("d", 10*time.Second), idleSince("a", 0),
		}, 0, fresh},
		{"used ones keep to their share", seatsIn{
			seatOf("a", time.Hour, 2, never), seatOf("b", time.Hour, 3, never), seatOf("c", time.Hour, never, 4), seatOf("d", time.Hour, 1, never), idleSince("e", 0),
		}, 1, useful},
		{"proved ones too", seatsIn{
			seatOf("a", time.Hour, never, 1), seatOf("b", time.Hour, never, 4), seatOf("c", time.Hour, never, 3), seatOf("d", time.Hour, never, 2), idleSince("e", 0),
		}, 1, proved},
		{"by networks", seatsIn{
			seatOf("a", time.Hour, never, 1), seatOf("b", time.Hour, never, 4), seatOf("a", time.Hour, never, 3), seatOf("d", time.Hour, never, 2), idleSince("e", 0),
		}, 2, proved},
		{"who waits for an answer stays, the newcomer too", seatsIn{
			asking(idleSince("a", time.Hour), 1), asking(idleSince("b", 2), 1), asking(seatOf("c", time.Hour, never, 0), 1), idleSince("d", 1), idleSince("e", 0),
		}, 3, fresh},
		{"they leave newcomers their share", seatsIn{
			asking(idleSince("a", 5), 4), asking(idleSince("b", 4), 3), asking(idleSince("c", 3), 2), asking(idleSince("d", 2), 1), idleSince("e", 0),
		}, 3, fresh},
		{"and there is one for each source", seatsIn{
			asking(idleSince("a", 5), 5), asking(idleSince("a", 4), 4), asking(idleSince("b", 3), 3), asking(idleSince("c", 2), 2), idleSince("e", 0),
		}, 1, fresh},
		{"for so long", seatsIn{
			asking(idleSince("a", time.Hour), askHold), asking(idleSince("b", time.Hour), askHold-1), idleSince("c", 2), idleSince("d", 2), idleSince("e", 0),
		}, 0, idle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSeats(4)
			for _, one := range tt.seats {
				s.add(one)
			}
			got, u := s.excess(seatsNow)
			if tt.want < 0 {
				require.Nil(t, got)
				return
			}
			require.Same(t, tt.seats[tt.want], got)
			require.Equal(t, tt.use, u)

			// Whoever is trusted stays.
			got.trusted = true
			other, _ := s.excess(seatsNow)
			require.NotSame(t, got, other)
			for _, one := range tt.seats {
				one.trusted = true
			}
			other, _ = s.excess(seatsNow)
			require.Nil(t, other)
		})
	}
	s := newSeats(0)
	for range 1000 {
		s.add(seatOf("a", time.Hour, never, never))
	}
	none, _ := s.excess(seatsNow)
	require.Nil(t, none, "without a limit")
}

// TestSeatsHold plays arrivals, uses and departures: there are never too many
// links, and a link that gives way was of no more use than any that stays, apart
// from the newcomers' share.
func TestSeatsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 12).Draw(t, "most")
		s := newSeats(most)
		now := seatsNow
		var in []*seat
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "pause")) * time.Second)
			pick := func() *seat { return in[rapid.IntRange(0, len(in)-1).Draw(t, "who")] }
			switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
			case what == 0 && len(in) > 0:
				pick().useful.Store(now.UnixNano())
			case what == 1 && len(in) > 0:
				pick().proved.Store(now.UnixNano())
			case what == 2 && len(in) > 0:
				gone := pick()
				s.remove(gone)
				s.remove(gone)
			default:
				one := &seat{source: Source(fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "source"))), since: now}
				s.add(one)
				if gone, u := s.excess(now); gone != nil {
					used, new := 0, 0
					for other := range s.taken {
						o, _ := other.use(now)
						require.False(t, o == idle && u != idle)
						if o == fresh {
							new++
						} else if o > fresh {
							used++
						}
					}
					room := most - max(most/newcomerShare, 1)
					require.False(t, u == fresh && used > room)
					require.False(t, u > fresh && used <= room && new > 0)
					s.remove(gone)
				}
			}
			in = in[:0]
			bySource := map[Source]int{}
			for one := range s.taken {
				in = append(in, one)
				bySource[one.source]++
			}
			require.LessOrEqual(t, len(in), most)
			require.Equal(t, bySource, s.bySource)
		}
	})
}

// TestSeatsUnderAttack: a phone comes, shows soon that it is registered, and stays
// for minutes, whatever strangers do meanwhile. Of an address on the internet
// p2p.Server accepts one link in half a minute, so many a second take many of them.
func TestSeatsUnderAttack(t *testing.T) {
	const most = 34
	one := func(int) string { return "strangers" }
	phones := func(int) string { return "phones" }
	many := func(i int) string { return fmt.Sprint("stranger ", i) }
	const fast, slow = 30 * time.Millisecond, time.Second
	for _, tt := range []struct {
		name   string
		source func(i int) string
		attack use
		each   time.Duration // between two strangers
		proof  time.Duration // what the phone takes to prove itself
		stays  time.Duration // and how long it is there then
	}{
		{"one network, idle", one, idle, fast, linkGrace - 1, 5 * time.Minute},
		{"one network, useful", one, useful, fast, linkGrace - 1, 5 * time.Minute},
		{"one network, registered", one, proved, fast, linkGrace - 1, 5 * time.Minute},
		{"many networks, idle", many, idle, fast, 30 * fast, 5 * time.Minute},
		{"many networks, useful", many, useful, fast, 7 * fast, 5 * time.Minute},
		{"many networks, registered", many, proved, slow, 7 * slow, 25 * slow},
		{"the phone's network, idle", phones, idle, fast, 30 * fast, 5 * time.Minute},
		{"the phone's network, useful", phones, useful, fast, 7 * fast, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, now, n := newSeats(most), seatsNow, 0
			arrive := func(source string) *seat {
				at := &seat{source: Source(source), since: now}
				s.add(at)
				if gone, _ := s.excess(now); gone != nil {
					s.remove(gone)
				}
				return at
			}
			attack := func(d time.Duration) {
				for end := now.Add(d); now.Before(end); n++ {
					at := arrive(tt.source(n))
					switch tt.attack {
					case useful:
						at.useful.Store(now.UnixNano())
					case proved:
						at.proved.Store(now.UnixNano())
					}
					now = now.Add(tt.each)
				}
			}
			seated := func(at *seat) bool { _, ok := s.taken[at]; return ok }
			attack(5 * time.Minute)
			require.Len(t, s.taken, most)
			for range 10 {
				phone := arrive("phones")
				attack(tt.proof)
				require.True(t, seated(phone), "until it has proved something")
				phone.proved.Store(now.UnixNano())
				attack(tt.stays)
				require.True(t, seated(phone), "and after that")
				s.remove(phone)
			}
		})
	}
}

// TestSeatsWhenAllComeBack: more devices than there are links come at once, and again until they are answered. An answer
// takes longer than it takes as many newcomers to arrive as there are links; yet those who wait for their answer get it.
func TestSeatsWhenAllComeBack(t *testing.T) {
	const (
		most    = 34
		each    = 10 * time.Millisecond  // between two arrivals
		asks    = 50 * time.Millisecond  // from the arrival to the request
		answer  = 500 * time.Millisecond // from the request to the answer
		devices = 1000
		within  = devices * answer / (most - most/newcomerShare)
	)
	s, now := newSeats(most), seatsNow
	type caller struct {
		*seat
		asked time.Time
	}
	var here []*caller
	gone := func(c *caller) bool { _, ok := s.taken[c.seat]; return !ok }
	for n, answered := 0, 0; answered < devices; n++ {
		require.Less(t, now.Sub(seatsNow), 2*within, "%d of %d devices were answered", answered, devices)
		one := &caller{seat: &seat{source: Source(fmt.Sprint(n)), since: now}}
		here = append(here, one)
		s.add(one.seat)
		if out, _ := s.excess(now); out != nil {
			s.remove(out)
		}
		now = now.Add(each)
		here = slices.DeleteFunc(here, gone)
		for _, c := range here {
			switch {
			case c.asked.IsZero() && now.Sub(c.since) >= asks:
				c.asked = now
				c.asks.asked(now)
			case !c.asked.IsZero() && now.Sub(c.asked) >= answer:
				c.asks.answered()
				s.remove(c.seat) // and they hang up
				answered++
			}
		}
	}
}
