package inbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The table of Decide, cell by cell.
func TestTable(t *testing.T) {
	states := []Attention{ScreenOff, Background, Elsewhere, Watching}
	nothing, read := Decision{}, Decision{Read: true}
	for _, row := range []struct {
		name  string
		facts Facts
		want  [4]Decision
	}{
		{"news", Facts{News: true}, [4]Decision{{Manner: Alarm}, {Manner: HeadsUp}, {Manner: Banner}, read}},
		{"known before", Facts{}, [4]Decision{{Manner: Quiet}, {Manner: Quiet}, {Manner: Quiet}, read}},
		{"muted", Facts{Muted: true, News: true}, [4]Decision{nothing, nothing, nothing, read}},
		{"read", Facts{Read: true, News: true}, [4]Decision{nothing, nothing, nothing, nothing}},
		{"own", Facts{Own: true, News: true}, [4]Decision{nothing, nothing, nothing, nothing}},
		{"blocked", Facts{Blocked: true, News: true}, [4]Decision{nothing, nothing, nothing, nothing}},
		{"blocked and muted", Facts{Blocked: true, Muted: true}, [4]Decision{nothing, nothing, nothing, nothing}},
		{"no chat of the user's", Facts{Lost: true, News: true}, [4]Decision{nothing, nothing, nothing, nothing}},
	} {
		for at, state := range states {
			require.Equal(t, row.want[at], Decide(state, row.facts), "%s, state %d", row.name, state)
		}
	}
	// Whatever is known of a message: what becomes read is not shown, and nothing is shown
	// of what is read, own, muted, blocked or lost.
	for bits := range 64 {
		bit := func(n int) bool { return bits>>n&1 == 1 }
		m := Facts{bit(0), bit(1), bit(2), bit(3), bit(4), bit(5)}
		for _, state := range states {
			d := Decide(state, m)
			require.False(t, d.Read && d.Manner != Unseen)
			want := !m.Read && !m.Own && !m.Muted && !m.Blocked && !m.Lost && state != Watching
			require.Equal(t, want, d.Manner != Unseen, "%+v in state %d", m, state)
		}
	}
}
