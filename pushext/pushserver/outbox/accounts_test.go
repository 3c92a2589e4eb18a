package outbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/testutil/memlog"
)

// Matches that nobody is woken for, because a crowd was too large or too loud, have matched
// and ended like any other.
func TestLeftOutAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := opened(t)
		require.NoError(t, o.LeftOut([]registration.ID{1, 2}, 3))
		require.NoError(t, o.Match(t.Context(), []Match{{ID: 3, Hash: memlog.Hash(9), At: time.Now(), Seq: 9, Crowd: true, Left: 5}}, 0, time.Now()))
		require.NoError(t, o.Sweep(t.Context(), time.Now(), func(registration.ID) bool { return false }))
		require.EqualValues(t, 2*3+5+1, testutil.ToFloat64(o.m.matches))
		require.EqualValues(t, 1, testutil.ToFloat64(o.m.open))
		require.Zero(t, testutil.ToFloat64(o.m.unaccounted))
		ended := make(chan prometheus.Metric, 8)
		o.m.outcomes.Collect(ended)
		close(ended)
		sum := 0.0
		for m := range ended {
			sum += testutil.ToFloat64(one{m})
		}
		require.EqualValues(t, 2*3+5, sum)
	})
}

// one is a collector of one metric.
type one struct{ prometheus.Metric }

func (o one) Describe(to chan<- *prometheus.Desc) { to <- o.Desc() }
func (o one) Collect(to chan<- prometheus.Metric) { to <- o.Metric }
