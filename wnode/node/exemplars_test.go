package node

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
)

// With the steps of wake-ups in the log, a bucket of their times names a registration as the log does; without, nothing does.
func TestExemplarsOfSlowWakeUps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Status.Enabled = false
	for _, tt := range []struct {
		verbosity int
		traced    bool
	}{{4, true}, {3, false}} {
		w.cfg.Log = config.Log{Verbosity: tt.verbosity, Format: "json"}
		w.restart(t, true)
		enter := w.register
		if !tt.traced { // it is registered
			enter = func(t *testing.T) *client.Device { return w.device(t, w.PushKey()) }
		}
		d := enter(t)
		w.post(t, "supper")
		require.Equal(t, []string{"supper"}, shows(t, d, w.ring(t)))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.http[0].Addr.String()+"/metrics", nil)
		require.NoError(t, err)
		req.Close = true
		req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0, text/plain; q=0.5") // as Prometheus does
		answer, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Contains(t, string(text), "whisperpush_pushext_archived_to_accepted_seconds_bucket")
		const exemplar = `(?m)^whisperpush_pushext_archived_to_accepted_seconds_bucket\{.*\} \d+ # \{registration="\d+"\} `
		if tt.traced {
			require.Regexp(t, exemplar, string(text))
			require.Contains(t, string(w.log.Bytes()), `"registration":1`)
		} else {
			require.NotContains(t, string(text), "# {")
		}
	}
}
