package inbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The table of decide, cell by cell.
func TestTable(t *testing.T) {
	states := []Attention{ScreenOff, Background, Elsewhere, Watching}
	nothing, read := decision{}, decision{read: true}
	for _, row := range []struct {
		name  string
		about about
		want  [4]decision
	}{
		{"news", about{news: true}, [4]decision{{manner: Alarm}, {manner: HeadsUp}, {manner: Banner}, read}},
		{"known before", about{}, [4]decision{{manner: Quiet}, {manner: Quiet}, {manner: Quiet}, read}},
		{"muted", about{muted: true, news: true}, [4]decision{nothing, nothing, nothing, read}},
		{"read", about{read: true, news: true}, [4]decision{nothing, nothing, nothing, nothing}},
		{"own", about{own: true, news: true}, [4]decision{nothing, nothing, nothing, nothing}},
		{"blocked", about{blocked: true, news: true}, [4]decision{nothing, nothing, nothing, nothing}},
		{"blocked and muted", about{blocked: true, muted: true}, [4]decision{nothing, nothing, nothing, nothing}},
		{"no chat of the user's", about{lost: true, news: true}, [4]decision{nothing, nothing, nothing, nothing}},
	} {
		for at, state := range states {
			require.Equal(t, row.want[at], decide(state, row.about), "%s, state %d", row.name, state)
		}
	}
	// Whatever is known of a message: what becomes read is not shown, and nothing is shown
	// of what is read, own, muted, blocked or lost.
	for bits := range 64 {
		bit := func(n int) bool { return bits>>n&1 == 1 }
		m := about{bit(0), bit(1), bit(2), bit(3), bit(4), bit(5)}
		for _, state := range states {
			d := decide(state, m)
			require.False(t, d.read && d.manner != Unseen)
			want := !m.read && !m.own && !m.muted && !m.blocked && !m.lost && state != Watching
			require.Equal(t, want, d.manner != Unseen, "%+v in state %d", m, state)
		}
	}
}
