package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func same(s string) string { return s }

// scripted is a check that answers what it is told to, and counts.
type scripted struct {
	err  error
	runs atomic.Int32
	hang chan struct{} // if not nil, a run lasts until it is closed
}

func (s *scripted) run(context.Context) error {
	s.runs.Add(1)
	if s.hang != nil {
		<-s.hang
	}
	return s.err
}

func get(t *testing.T, h http.Handler) (int, Report) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	var report Report
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &report))
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	return w.Code, report
}

// What a restart mends makes a node unwell and not ready; what it does not mend makes it not ready alone.
func TestStatus(t *testing.T) {
	for name, row := range map[string]struct {
		live, other error
		health      int
		ready       int
	}{
		"well":      {nil, nil, 200, 200},
		"live":      {errors.New("archive of 1.2.3.4"), nil, 503, 503},
		"not ready": {nil, errors.New("full"), 200, 503},
	} {
		t.Run(name, func(t *testing.T) {
			clean := func(s string) string { return strings.ReplaceAll(s, "1.2.3.4", "[ip]") }
			j := New(clean, func() []string { return []string{"a note of 1.2.3.4"} },
				Check{Name: "a", Live: true, Run: (&scripted{err: row.live}).run}, Check{Name: "b", Run: (&scripted{err: row.other}).run})
			code, report := get(t, j.Handler(false))
			require.Equal(t, row.health, code)
			require.Len(t, report.Checks, 1)
			require.Equal(t, row.live == nil, report.OK())
			if row.live != nil {
				require.Equal(t, []Result{{Name: "a", Reason: "archive of [ip]"}}, report.Checks)
			}
			require.Equal(t, []string{"a note of [ip]"}, report.Notes)
			code, report = get(t, j.Handler(true))
			require.Equal(t, row.ready, code)
			require.Len(t, report.Checks, 2)
			require.Equal(t, code == 200, report.OK())
		})
	}
}

// Frequent questions cause no more work, and a check that hangs is run once, and has failed.
func TestAskedOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, slow := new(scripted), &scripted{hang: make(chan struct{})}
		j := New(same, nil, Check{Name: "quick", Live: true, Run: quick.run}, Check{Name: "slow", Run: slow.run})
		for range 100 {
			require.True(t, j.Report(t.Context(), false).OK())
		}
		require.EqualValues(t, 1, quick.runs.Load())
		time.Sleep(Fresh)
		quick.err = errors.New("broken")
		require.False(t, j.Report(t.Context(), false).OK())
		require.EqualValues(t, 2, quick.runs.Load())

		for range 3 {
			began := time.Now()
			report := j.Report(t.Context(), true)
			require.Equal(t, Patience, time.Since(began))
			require.Contains(t, report.Checks[1].Reason, "no answer within")
		}
		require.EqualValues(t, 1, slow.runs.Load())
		close(slow.hang)
		synctest.Wait()
		require.True(t, j.Report(t.Context(), true).Checks[1].OK)
	})
}

// Close waits for what is under way, and nothing begins after it.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &scripted{hang: make(chan struct{})}
		j := New(same, nil, Check{Name: "slow", Live: true, Run: slow.run})
		go j.Report(t.Context(), false)
		synctest.Wait()
		began := time.Now()
		time.AfterFunc(time.Second, func() { close(slow.hang) })
		j.Close()
		require.Equal(t, time.Second, time.Since(began))
		require.False(t, j.Report(t.Context(), false).OK())
		require.EqualValues(t, 1, slow.runs.Load())
	})
}

func TestFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var position, newest uint64
		check := Follower(func() uint64 { return position }, func() uint64 { return newest })
		well := func(wait time.Duration, why string) { time.Sleep(wait); require.NoError(t, check(t.Context()), why) }
		well(0, "an empty archive")
		well(time.Hour, "nothing arrives")
		newest = 7
		well(time.Second, "just behind")
		well(FollowPatience, "not longer behind than allowed")
		position = 3
		well(time.Second, "it moves")
		well(FollowPatience, "from then on")
		time.Sleep(time.Second)
		require.ErrorContains(t, check(t.Context()), "stood still for 2m1s at sequence 3 of 7")
		position = 7
		well(0, "it caught up")
		newest = 8
		well(time.Hour, "behind when it is looked at, and it was not before")
	})
}

func TestDisk(t *testing.T) {
	for name, row := range map[string]struct {
		free uint64
		err  error
		want string
	}{
		"room":    {free: LeastFree},
		"full":    {free: LeastFree - 1, want: "only 255 MiB are free at /data; make room"},
		"gone":    {err: errors.New("no such file"), want: "cannot be told: no such file"},
		"unknown": {err: errors.ErrUnsupported},
	} {
		err := Disk("/data", func(string) (uint64, error) { return row.free, row.err })(t.Context())
		if row.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, row.want, name)
	}
}

func TestProviders(t *testing.T) {
	for name, row := range map[string]struct {
		states []Provider
		down   bool
	}{
		"none":  {nil, false},
		"well":  {[]Provider{{Name: "fcm"}}, false},
		"some":  {[]Provider{{Name: "fcm", Failing: true}, {Name: "apns"}}, false},
		"all":   {[]Provider{{Name: "fcm", Failing: true}, {Name: "apns", Paused: true}}, true},
		"alone": {[]Provider{{Name: "fcm", Paused: true}}, true},
	} {
		err := Providers(func() []Provider { return row.states })(t.Context())
		require.Equal(t, row.down, err != nil, "%s: %v", name, err)
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew, known, asked := time.Duration(0), true, 0
		check := Clock(func(context.Context) (time.Time, bool) { asked++; return time.Now().Add(-skew), known })
		require.NoError(t, check(t.Context()))
		skew = time.Hour
		require.NoError(t, check(t.Context()), "it is not asked all the time")
		time.Sleep(clockFresh)
		require.ErrorContains(t, check(t.Context()), "clock is 1h0m0s off")
		known = false
		time.Sleep(clockAgain)
		require.Error(t, check(t.Context()), "nobody says that it was mended")
		known, skew = true, -MostSkew
		time.Sleep(clockAgain)
		require.NoError(t, check(t.Context()))
		require.Equal(t, 4, asked)
	})
}
