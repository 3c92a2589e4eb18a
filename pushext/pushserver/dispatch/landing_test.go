package dispatch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

func TestLanding(t *testing.T) {
	message := func(class pushext.Class, change ...func(*landing)) landing {
		l := landing{kind: pushwire.Messages, class: class, last: true, only: true}
		for _, c := range change {
			c(&l)
		}
		return l
	}
	first := func(l *landing) { l.last = false }          // of several routes
	second := func(l *landing) { l.only = false }         // the last of several
	accepted := func(l *landing) { l.accepted = true }    // by another route
	again := func(l *landing) { l.again = true }          // rung meanwhile
	due := func(l *landing) { l.due = true }              // the ladder
	there := func(l *landing) { l.there = true }          // by its link
	often := func(l *landing) { l.failed = sideAttempts } // failed
	pauses := func(l *landing) { l.pauses = true }        // all
	believed := func(l *landing) { l.believed = true }    // dead
	dismissal := func(l *landing) { l.kind = pushwire.Dismiss }
	for _, row := range []struct {
		at   landing
		to   move
		mark mark
	}{
		{message(pushext.Delivered), rest, took},
		{message(pushext.Delivered, again), queue, took},
		{message(pushext.Delivered, first, due), climb, took},
		{message(pushext.Delivered, due), rest, took},
		{message(pushext.Delivered, first, due, dismissal), rest, took},
		{message(pushext.Delivered, there), restart, took},
		{message(pushext.Retry, there, often), restart, unmarked},

		{message(pushext.TokenDead, believed, there), bury, unmarked},
		{message(pushext.TokenDead, first), climb, unmarked},
		{message(pushext.TokenDead, second, accepted), rest, settled},
		{message(pushext.TokenDead, second), doubtAll, failure},
		{message(pushext.TokenDead), doubtAll, failure},
		{message(pushext.TokenDead, second, accepted, dismissal), doubtAll, failure},

		{message(pushext.MessageBad, first), climb, unmarked},
		{message(pushext.MessageBad), rest, dropped},
		{message(pushext.MessageBad, again), queue, dropped},
		{message(pushext.MessageBad, first, dismissal), rest, dropped},

		{message(pushext.Absent, first), pass, unmarked},
		{message(pushext.Absent, second, accepted), rest, settled},
		{message(pushext.Absent, second), retryAll, failure},
		{message(pushext.Absent), awaitUp, unmarked},
		{message(pushext.Absent, dismissal, again), queue, settled},

		{message(pushext.Retry), retry, failure},
		{message(pushext.Retry, due), retry, failure},
		{message(pushext.Retry, first), retry, failure},
		{message(pushext.RetryAt, first, due), climb, failure},
		{message(pushext.Retry, second), retryAll, failure},
		{message(pushext.ProviderBroken, second, pauses), retry, failure},
		{message(pushext.Retry, second, accepted), retry, failure},
		{message(pushext.Retry, second, accepted, often), rest, givenUp},
		{message(pushext.Retry, second, accepted, often, again), queue, givenUp},
	} {
		t.Run(fmt.Sprintf("%+v", row.at), func(t *testing.T) {
			to, mark := row.at.next()
			require.Equal(t, row.to, to)
			require.Equal(t, row.mark, mark)
		})
	}
}

// What holds for every landing that there is.
func TestEveryLanding(t *testing.T) {
	for bits := range 1 << 9 {
		for class := pushext.Retry; class <= pushext.Absent; class++ {
			for _, kind := range []pushwire.Kind{pushwire.Messages, pushwire.Dismiss} {
				is := func(n int) bool { return bits>>n&1 == 1 }
				l := landing{
					kind: kind, class: class, believed: is(0) && class == pushext.TokenDead, pauses: is(1), last: is(2), only: is(3),
					accepted: is(4), again: is(5), there: is(6), due: is(7),
				}
				if is(8) {
					l.failed = sideAttempts
				}
				to, mark := l.next()
				about := fmt.Sprintf("%+v", l)
				require.Equal(t, l.believed, to == bury, about)
				require.Equal(t, class == pushext.Delivered, mark == took, about)
				if l.last {
					require.NotContains(t, []move{climb, pass}, to, "there is no next route: %s", about)
				}
				if l.there && !l.believed {
					require.Equal(t, restart, to, about)
				}
				if l.again {
					require.NotEqual(t, rest, to, "there is more: %s", about)
				}
				if mark == unmarked || mark == failure {
					require.NotContains(t, []move{rest, queue}, to, "what was not taken is tried again, or settled: %s", about)
				}
			}
		}
	}
}
