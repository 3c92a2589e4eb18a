package node

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/testutil/loopback"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew; it needs PostgreSQL")

const metricsPage = "../../docs/metrics.md"

// noted is a registerer that remembers what was registered: Gather alone does not tell of what has not happened yet.
type noted struct {
	prometheus.Registerer
	mu  sync.Mutex // guards all
	all []prometheus.Collector
}

func (n *noted) Register(c prometheus.Collector) error {
	err := n.Registerer.Register(c)
	if err == nil {
		n.mu.Lock()
		n.all = append(n.all, c)
		n.mu.Unlock()
	}
	return err
}

func (n *noted) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := n.Register(c); err != nil {
			panic(err)
		}
	}
}

// metric is a row of the page.
type metric struct {
	name, kind, help string
	labels           []string
}

var description = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// describe reads what a description says.
func describe(t *testing.T, desc *prometheus.Desc) (m metric) {
	t.Helper()
	parts := description.FindStringSubmatch(desc.String())
	require.NotNil(t, parts, desc.String())
	var err error
	m.name, err = strconv.Unquote(parts[1])
	require.NoError(t, err)
	m.help, err = strconv.Unquote(parts[2])
	require.NoError(t, err)
	for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(parts[3], -1) {
		m.labels = append(m.labels, label[1])
	}
	for _, label := range strings.Split(parts[4], ",") {
		if label != "" {
			m.labels = append(m.labels, label)
		}
	}
	return m
}

// kindOf is the type of a metric.
func kindOf(t *testing.T, one prometheus.Metric) string {
	t.Helper()
	var written dto.Metric
	require.NoError(t, one.Write(&written))
	switch {
	case written.Counter != nil:
		return "counter"
	case written.Gauge != nil:
		return "gauge"
	case written.Histogram != nil:
		return "histogram"
	case written.Summary != nil:
		return "summary"
	}
	return ""
}

// metricsOf are all metrics that were registered and those that n's registry has besides, by name, without those of Go and the
// process, which differ by platform. known are those of another node, for the types of what has not happened.
func metricsOf(t *testing.T, n *Node, what *noted, known map[string]metric) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	add := func(m metric) {
		if strings.HasPrefix(m.name, "go_") || strings.HasPrefix(m.name, "process_") {
			return
		}
		if m.kind == "" {
			m.kind = cmp.Or(all[m.name].kind, known[m.name].kind)
		}
		all[m.name] = m
	}
	see := func(c prometheus.Collector) {
		kind := ""
		switch c.(type) {
		case *prometheus.CounterVec:
			kind = "counter"
		case *prometheus.GaugeVec:
			kind = "gauge"
		case *prometheus.HistogramVec:
			kind = "histogram"
		}
		descriptions := make(chan *prometheus.Desc)
		go func() {
			c.Describe(descriptions)
			close(descriptions)
		}()
		for desc := range descriptions {
			m := describe(t, desc)
			m.kind = kind
			add(m)
		}
		if kind != "" {
			return
		}
		samples := make(chan prometheus.Metric)
		go func() {
			c.Collect(samples)
			close(samples)
		}()
		for sample := range samples {
			m := describe(t, sample.Desc())
			m.kind = kindOf(t, sample)
			add(m)
		}
	}
	what.mu.Lock()
	collectors := slices.Clone(what.all)
	what.mu.Unlock()
	for _, c := range collectors {
		see(c)
	}
	see(n.registry)
	for name, m := range all {
		require.NotEmpty(t, m.kind, "the type of %s", name)
		require.NotEmpty(t, m.help, name)
	}
	return all
}

// parts are the sections of the page, by what their metrics begin with.
var parts = [...]struct{ prefix, title string }{
	{"whisperpush_wnode_", "The node"},
	{"whisperpush_whisper_", "Whisper"},
	{"whisperpush_mailserver_", "The mailserver and its archive"},
	{"whisperpush_pushext_", "Push"},
	{"whisperpush_door_", "The door"},
	{"whisperpush_durable_", "Databases on disk"},
}

// table writes some metrics.
func table(w *strings.Builder, all map[string]metric) {
	w.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		labels := make([]string, len(m.labels))
		for i, label := range m.labels {
			labels[i] = "`" + label + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(labels, ", "), strings.ReplaceAll(m.help, "|", "\\|"))
	}
}

const metricsHead = `# Metrics

Every metric that a node serves at /metrics ([Metrics] in [configuration.md](configuration.md)), from the registry of one that runs with
everything on: what it is called, its type and labels, and what it counts. This page is made by a test from the code, which says each of
them once. Beside these there are ` + "`go_…` and `process_…`" + ` of the Prometheus client. A histogram has a ` + "`_bucket`, a `_sum` and a `_count`" + `.
No label has a token, a topic, an address or anything else of a device or a person ([privacy.md](privacy.md)). What to be woken for is in
[alerts.md](alerts.md).
`

const storeHead = `
## With --store

Where nodes share a database each serves what it does itself. The metrics of push are then those of the registrations that it has, each
with a label ` + "`shard`" + ` more, and these are there besides:

`

// The page of metrics has every one of a node that runs, on a directory and on a database, and nothing else.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	cfg := loopback.Config(t)
	cfg.Mailserver.Enabled, cfg.Push.Enabled, cfg.Door.Enabled, cfg.Door.Port, cfg.Metrics.Enabled, cfg.Status.Enabled = true, true, true, 0, true, true
	n, what := startNoted(t, cfg)
	own := metricsOf(t, n, what, nil)
	families, err := n.registry.Gather()
	require.NoError(t, err)
	for _, family := range families { // what is served is what the page says
		if m, ok := own[family.GetName()]; ok {
			require.Equal(t, strings.ToLower(family.GetType().String()), m.kind, m.name)
			require.Equal(t, family.GetHelp(), m.help)
		} else {
			require.Regexp(t, "^(go|process)_", family.GetName())
		}
	}
	var page strings.Builder
	page.WriteString(metricsHead)
	left := maps.Clone(own)
	for _, part := range parts {
		some := map[string]metric{}
		for name, m := range left {
			if strings.HasPrefix(name, part.prefix) {
				some[name] = m
				delete(left, name)
			}
		}
		if len(some) > 0 {
			fmt.Fprintf(&page, "\n## %s\n\n", part.title)
			table(&page, some)
		}
	}
	require.Empty(t, left, "every metric is the program's")
	written, err := os.ReadFile(metricsPage)
	if !*update {
		require.NoError(t, err)
	}
	const again = "go test ./wnode/node -run TestMetricsPage -update writes it anew"
	if !*update {
		before, _, ok := strings.Cut(string(written), storeHead)
		require.True(t, ok)
		require.Equal(t, page.String(), before, again)
	}

	_, store, passwordFile, _ := onDatabase(t) // skips what follows, and says so, where there is no PostgreSQL
	cfg = loopback.Config(t)
	cfg.Node.Store, cfg.Node.StorePasswordFile = store, passwordFile
	cfg.Mailserver.Enabled, cfg.Push.Enabled = true, true
	n, what = startNoted(t, cfg)
	shared := metricsOf(t, n, what, own)
	for name, m := range shared {
		if mine, ok := own[name]; ok {
			m.labels = slices.DeleteFunc(m.labels, func(label string) bool { return label == "shard" && !slices.Contains(mine.labels, label) })
			require.ElementsMatch(t, mine.labels, m.labels, name)
			require.Equal(t, mine.kind, m.kind, name)
			delete(shared, name)
		}
	}
	page.WriteString(storeHead)
	table(&page, shared)
	if *update {
		require.NoError(t, os.WriteFile(metricsPage, []byte(page.String()), 0o644))
		return
	}
	require.Equal(t, page.String(), string(written), again)
}

// startNoted starts a node, and notes what it registers.
func startNoted(t *testing.T, cfg config.Config) (*Node, *noted) {
	t.Helper()
	require.NoError(t, cfg.Validate())
	what := new(noted)
	n := &Node{noting: func(r prometheus.Registerer) prometheus.Registerer {
		what.Registerer = r
		return what
	}}
	n.cfg.Store(&cfg)
	t.Cleanup(n.Stop)
	require.NoError(t, n.build(cfg, slog.New(slog.DiscardHandler)))
	return n, what
}
