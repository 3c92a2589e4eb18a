package registry

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext/pushserver/registration"
)

// Who gives way, against the plainest search for it.
func TestNewcomersGiveWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNewcomers()
		var all []newcomer
		of := func(source [16]byte, linked bool) (ids []registration.ID) {
			for _, one := range all {
				if one.source == source && one.linked == linked {
					ids = append(ids, one.id)
				}
			}
			slices.Sort(ids)
			return ids
		}
		first := func(linked bool) registration.ID {
			best := []registration.ID(nil)
			for _, one := range all {
				ids := of(one.source, linked)
				if len(ids) > len(best) || len(ids) == len(best) && len(ids) > 0 && ids[0] < best[0] {
					best = ids
				}
			}
			if len(best) == 0 {
				return 0
			}
			return best[0]
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := registration.ID(rapid.IntRange(1, 30).Draw(t, "id"))
			at := slices.IndexFunc(all, func(one newcomer) bool { return one.id == id })
			_, known := n.remove(id)
			require.Equal(t, at >= 0, known)
			if at >= 0 {
				all = slices.Delete(all, at, at+1)
			}
			if rapid.Bool().Draw(t, "add") {
				one := newcomer{
					id: id, source: [16]byte{rapid.Byte().Draw(t, "source") % 5}, linked: rapid.Bool().Draw(t, "linked"),
					channels: rapid.IntRange(0, 9).Draw(t, "channels"),
				}
				n.add(one)
				all = append(all, one)
			}
			want := first(true)
			if want == 0 {
				want = first(false)
			}
			require.Equal(t, want, n.first())
			channels := 0
			for _, one := range all {
				channels += one.channels
			}
			require.Equal(t, channels, n.channels)
			for source := range byte(5) {
				linked, proving := of([16]byte{source}, true), of([16]byte{source}, false)
				require.Equal(t, len(linked)+len(proving), n.of([16]byte{source}))
				if both := append(linked, proving...); len(both) > 0 {
					require.Equal(t, both[0], n.firstOf([16]byte{source}))
				} else {
					require.Zero(t, n.firstOf([16]byte{source}))
				}
			}
		}
	})
}
