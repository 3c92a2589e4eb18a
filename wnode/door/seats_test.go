package door

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/whisper"
)

// A model of seats that looks at all of them each time: no more are taken than there are, the seat that
// gives way is the oldest of the network with the most, and strangers and registrations that proved an
// address leave each other their share.
func TestSeatsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 8
		s := newSeats(most, prometheus.NewCounter(prometheus.CounterOpts{Name: "gave_way"}))
		type one struct {
			*seat
			left bool
		}
		var all []*one // in the order in which they came into their class
		of := func(class int) (n int) {
			for _, o := range all {
				if o.class == class {
					n++
				}
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				source := whisper.Source(fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "source")))
				o := new(one)
				strangersBefore, full := of(strangers), len(all) == most
				o.seat = s.take(source, func() { o.left = true })
				all = append(all, o)
				var gone []*one
				for _, o := range all {
					if o.left {
						gone = append(gone, o)
					}
				}
				if !full {
					require.Empty(t, gone)
					return
				}
				require.Len(t, gone, 1)
				class := strangers
				if strangersBefore+1 <= most/strangersShare {
					class = proven
				}
				require.Equal(t, class, gone[0].class)
				count := make(map[whisper.Source]int)
				for _, o := range all {
					if o.class == class {
						count[o.source]++
					}
				}
				for source, n := range count {
					require.LessOrEqual(t, n, count[gone[0].source], "%s has more", source)
				}
				for _, o := range all {
					if o.class == class && o.source == gone[0].source {
						require.Same(t, gone[0], o, "it is not the oldest")
						break
					}
				}
				all = slices.DeleteFunc(all, func(o *one) bool { return o.left })
			},
			"prove": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "whose")
				o := all[i]
				if o.class == strangers {
					all = append(slices.Delete(all, i, i+1), o)
				}
				s.prove(o.seat)
			},
			"free": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "whose")
				s.free(all[i].seat)
				s.free(all[i].seat) // once more does nothing
				all = slices.Delete(all, i, i+1)
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(all), s.count())
				require.LessOrEqual(t, s.count(), most)
				for i := range s.classes {
					c := &s.classes[i]
					require.Equal(t, of(i), c.taken)
					require.LessOrEqual(t, len(c.groups), c.taken, "groups without seats are forgotten")
				}
			},
		})
	})
}
