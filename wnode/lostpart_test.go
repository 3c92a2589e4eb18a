package wnode

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
)

// follower is a node with an archive, and with push or without.
type follower struct {
	cfg  config.Config
	node *node.Node // nil: it does not run
	log  loopback.Log
}

func newFollower(t *testing.T) *follower {
	t.Helper()
	w := &follower{cfg: loopback.Config(t)}
	w.cfg.RPC.IPCDisable, w.cfg.Mailserver.Enabled = true, true
	w.cfg.Push.Provider = []config.Provider{{Name: "webhook", Type: "webhook"}}
	t.Cleanup(w.halt)
	return w
}

// restart starts the node with push on or off, after stopping the one before.
func (w *follower) restart(t *testing.T, push bool) {
	t.Helper()
	w.halt()
	w.cfg.Push.Enabled = push
	require.NoError(t, w.cfg.Validate())
	n, err := node.Start(w.cfg, node.NewLogger(&w.log, w.cfg.Log))
	require.NoError(t, err)
	w.node = n
}

func (w *follower) halt() {
	if w.node != nil {
		w.node.Stop()
		w.node = nil
	}
}

// post has the node archive a message.
func (w *follower) post(t *testing.T, text string) {
	t.Helper()
	e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte(text), Topic: whisper.Topic{1}, Key: bytes.Repeat([]byte{7}, 32), PoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	require.NoError(t, w.node.Whisper().Post(t.Context(), e))
}

// followed waits until everything archived is matched, and returns what the node counts as missed.
func (w *follower) followed(t *testing.T) (gaps, missed float64) {
	t.Helper()
	require.Eventually(t, func() bool {
		return w.metric(t, "whisperpush_pushext_cursor") == w.metric(t, "whisperpush_mailserver_archive_newest_sequence")
	}, 15*time.Second, 10*time.Millisecond)
	return w.metric(t, "whisperpush_pushext_log_gaps_total"), w.metric(t, "whisperpush_pushext_log_missed_envelopes_total")
}

// metric is the sum of a metric.
func (w *follower) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := w.node.Metrics().Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// TestLostPart: the only part of the archive is lost. What of it nobody was woken for is counted, and the numbers that
// are skipped after it are not: they never were an envelope's.
func TestLostPart(t *testing.T) {
	const n = 12
	lose := func(t *testing.T, w *follower) {
		parts, err := filepath.Glob(filepath.Join(w.cfg.Node.DataDir, "archive", "p*", "CURRENT"))
		require.NoError(t, err)
		require.Len(t, parts, 1)
		require.NoError(t, os.Remove(parts[0]))
	}
	write := func(t *testing.T, w *follower) {
		for i := range n {
			w.post(t, fmt.Sprint("message ", i))
		}
	}
	salvage := func(t *testing.T, w *follower) {
		var out bytes.Buffer
		r := recovery{dir: w.cfg.Node.DataDir, out: &out, err: &out}
		require.NoError(t, r.run(t.Context()))
		require.Contains(t, out.String(), fmt.Sprintf("%d envelopes were read and are archived again", n))
	}
	const accused = "nobody was woken for them"
	for _, recovered := range []bool{false, true} {
		t.Run(fmt.Sprintf("matched, recovered %v", recovered), func(t *testing.T) {
			w := newFollower(t)
			w.restart(t, true)
			write(t, w)
			w.followed(t)
			w.halt()
			lose(t, w)
			if recovered {
				salvage(t, w)
			}
			for range 2 {
				w.restart(t, true)
				gaps, missed := w.followed(t)
				require.Zero(t, missed)
				require.Zero(t, gaps)
				require.NotContains(t, string(w.log.Bytes()), accused)
				w.post(t, "and the next")
				w.followed(t)
			}
		})
		t.Run(fmt.Sprintf("not matched, recovered %v", recovered), func(t *testing.T) {
			w := newFollower(t)
			w.restart(t, true)
			w.post(t, "matched")
			w.followed(t)
			w.restart(t, false) // so that nobody matches
			for i := range n - 1 {
				w.post(t, fmt.Sprint("message ", i))
			}
			w.halt()
			lose(t, w)
			if recovered {
				salvage(t, w)
			}
			w.restart(t, true)
			gaps, missed := w.followed(t)
			if recovered {
				require.Zero(t, missed)
				require.Zero(t, gaps)
				require.NotContains(t, string(w.log.Bytes()), accused)
				return
			}
			require.EqualValues(t, n-1, missed)
			require.EqualValues(t, 1, gaps)
			require.Equal(t, 1, strings.Count(string(w.log.Bytes()), accused))
		})
	}
}
