package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// target is what a number must reach.
type target struct {
	unit  string
	limit float64
	most  bool   // limit is a maximum, otherwise a minimum
	what  string // for the table
}

// shortLimits are the limits, at the short sizes, of ratios that grow with the number of
// archived envelopes. The genuine node takes the same time for each envelope however many
// there are, and for a query a time in proportion to them; our times have a part that does
// not grow.
var shortLimits = map[string]float64{"wire_ingest_ratio": 2, "topic_query_ratio": 300}

// target is what the result with a name must reach in this run.
func (r *report) target(name string) target {
	t := targets[name]
	if limit, ok := shortLimits[name]; ok && !r.full {
		t.limit = limit
	}
	return t
}

// targets of all results, at the full sizes.
var targets = map[string]target{
	"wire_ingest_ratio":  {"ratio", 3, false, "envelopes/s over one link until fsynced, ours ÷ genuine"},
	"archive_ratio":      {"ratio", 1.2, false, "archive in process, 8 writers, ours fsynced ÷ genuine"},
	"archive_vs_disk":    {"ratio", 0.8, false, "the same ÷ bare goleveldb with fsync"},
	"topic_query_ratio":  {"ratio", 1000, false, "time to all envelopes of a topic, genuine ÷ ours"},
	"bloom_query_ratio":  {"ratio", 20, false, "time to all envelopes of a bloom filter, genuine ÷ ours"},
	"hash_fetch_vs_ping": {"ratio", 5, true, "p99 of 10 envelopes by hash while archiving ÷ p99 of a ping"},
	"match_vs_map":       {"ratio", 0.5, false, "envelopes/s matched ÷ a bare map lookup"},
	"channel_bytes":      {"bytes", 100, true, "heap for a registered channel"},
	"startup_vs_scan":    {"ratio", 2, true, "exec to serving ÷ bare iteration of the registrations"},
	"ring_p50_vs_floor":  {"ratio", 3, true, "envelope to wake-up, median ÷ one fsync + one POST"},
	"ring_p99_vs_floor":  {"ratio", 10, true, "envelope to wake-up, p99 ÷ one fsync + one POST"},
	"ring_late":          {"share", 0, true, "wake-ups later than 15 s"},
	"ring_sustained":     {"ratio", 0.5, false, "first wake-ups a second with p99 ≤ 250 ms ÷ a bare loop of fsync and POST"},
	"ring_cpu_vs_floor":  {"ratio", 3, true, "the node's processor time for a first wake-up ÷ that of the bare loop"},
	"rss_ringing":        {"MiB", 300, true, "resident while 2,000 a second are woken"},
	"wire_vs_rlpx":       {"ratio", 0.5, false, "envelopes/s over one link until fsynced ÷ a bare reader that decrypts and hashes"},
	"push_vs_http":       {"ratio", 0.8, false, "pushes/s through the FCM provider ÷ a bare HTTP loop"},
	"relay_p50_ratio":    {"ratio", 50, false, "one hop, median, genuine ÷ ours"},
	"rss_idle":           {"MiB", 200, true, "resident with everything loaded and no traffic"},

	"cluster_ingest_ratio":      {"ratio", 0.8, false, "archive on PostgreSQL, envelopes/s until committed ÷ a bare pgx loop that inserts the same rows in the best groups"},
	"cluster_query_ratio":       {"ratio", 2, true, "the archive's answer to a query for a topic ÷ the bare SQL query"},
	"cluster_ring_p50_vs_floor": {"ratio", 3, true, "envelope to wake-up with three nodes, median ÷ one commit + one POST"},
	"cluster_ring_late":         {"share", 0, true, "wake-ups later than 15 s"},
	"cluster_wakeups_ratio":     {"ratio", 0.8, false, "first wake-ups/s of three nodes ÷ of one, on the same two cores and database"},
	"cluster_move_stopped":      {"s", 5, true, "one of three nodes with 1 M channels is stopped: until all that is sent then is matched again"},
	"cluster_move_killed":       {"s", 8, true, "the same when it is killed (3 s of it until it counts as dead)"},
	"cluster_memory":            {"MiB", 1024, true, "a node's memory with a third of 10 M channels, by calculation"},

	rivalTenth: {"ratio", 3, false, "one of ten envelopes is for a device: envelopes/s until all are told of, ours ÷ XMTP's notification server on the same PostgreSQL"},
	rivalAll:   {"ratio", 2, false, "the same when every envelope is for another device"},
}

// met reports whether a value reaches its target.
func (t target) met(v float64) bool {
	if t.most {
		return v <= t.limit
	}
	return v >= t.limit
}

func (t target) String() string {
	sign := "≥"
	if t.most {
		sign = "≤"
	}
	return sign + " " + number(t.limit)
}

// detail is a number behind a result, with a name of its own.
type detail struct {
	name  string
	value float64
	unit  string
}

// result is the value with one name.
type result struct {
	name   string
	value  float64
	behind []detail
}

// report collects the results of a run.
type report struct {
	started time.Time
	seed    int64
	note    string
	command string
	machine string
	full    bool // the full sizes
	cluster bool // of nodes on PostgreSQL
	results []result
	left    []string // sentences about what was not measured
}

func newReport(seed int64, note, command string) *report {
	return &report{
		started: time.Now(), seed: seed, note: note, command: command,
		machine: fmt.Sprintf("%s, %d cores, %s/%s, %s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
	}
}

// processor names the machine's CPU, if the system tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// load is the machine's load average over a minute, or empty.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// add takes a result; a name may be added only once.
func (r *report) add(name string, value float64, behind ...detail) {
	if _, ok := targets[name]; !ok {
		panic("bench: no target for " + name)
	}
	r.results = append(r.results, result{name, value, behind})
}

// print writes the table, then the lines for machines.
func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s, seed %d, %s\n%s; load average at the end %s\n\n", r.command, r.seed, r.started.Format(time.DateTime), r.machine, load())
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tVALUE\tTARGET\t\tBEHIND IT")
	for _, res := range r.results {
		t := r.target(res.name)
		verdict := "met"
		if !t.met(res.value) {
			verdict = "MISSED"
		}
		fmt.Fprintf(table, "%s\t%s\t%v\t%s\t%s\n", res.name, number(res.value), t, verdict, behind(res.behind))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, sentence := range r.left {
		fmt.Fprintf(w, "%s\n\n", sentence)
	}
	for _, res := range r.results {
		fmt.Fprintf(w, "bench %s %s %s\n", res.name, number(res.value), targets[res.name].unit)
	}
	for _, res := range r.results {
		for _, d := range res.behind {
			if _, err := fmt.Fprintf(w, "bench %s %s %s\n", d.name, number(d.value), d.unit); err != nil {
				return err
			}
		}
	}
	return nil
}

// behind lists details for people, without the common beginnings of their names.
func behind(details []detail) string {
	texts := make([]string, len(details))
	for i, d := range details {
		texts[i] = fmt.Sprintf("%s %s %s", strings.ReplaceAll(d.name, "_", " "), number(d.value), d.unit)
	}
	return strings.Join(texts, "; ")
}

// number formats with three significant digits, and large numbers as integers.
func number(v float64) string {
	if math.Abs(v) >= 100 || v == math.Trunc(v) {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Lines of performance.md, or of cluster.md, around the results. The results beside the
// rival, which somebody has to bring, have lines of their own.
const (
	resultsBegin = "<!-- results: written by go run ./bench -docs docs -->\n"
	resultsEnd   = "<!-- end of results -->\n"
	rivalBegin   = "<!-- results: written by go run ./bench -cluster -rival DIRECTORY -docs docs -->\n"
	rivalEnd     = "<!-- end of the rival's results -->\n"
)

// document replaces the results in performance.md and draws performance.svg, or replaces the
// results in cluster.md.
func (r *report) document(dir string) error {
	path := filepath.Join(dir, "performance.md")
	if r.cluster {
		path = filepath.Join(dir, "cluster.md")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	beside, own := rivalResults(r.results)
	page := string(text)
	for _, part := range []struct {
		begin, end string
		results    []result
	}{{resultsBegin, resultsEnd, own}, {rivalBegin, rivalEnd, beside}} {
		if len(part.results) == 0 {
			continue // those there were measured another time
		}
		before, rest, ok := strings.Cut(page, part.begin)
		_, after, ok2 := strings.Cut(rest, part.end)
		if !ok || !ok2 {
			return fmt.Errorf("%s has no place for the results: it needs the lines %q and %q", path, part.begin, part.end)
		}
		page = before + part.begin + r.markdown(part.results) + part.end + after
	}
	if !r.cluster {
		if err := r.plot(filepath.Join(dir, "performance.svg")); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(page), 0o644)
}

func (r *report) markdown(results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, `%s`, seed %d. %s. Load average at the end: %s.", r.started.Format(time.DateOnly), r.command, r.seed, r.machine, load())
	if r.note != "" {
		b.WriteString(" " + r.note)
	}
	b.WriteString("\n\n| name | what | value | target | | behind it |\n|---|---|---|---|---|---|\n")
	for _, res := range results {
		t := r.target(res.name)
		verdict := "met"
		if !t.met(res.value) {
			verdict = "**missed**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s %s | %v | %s | %s |\n", res.name, t.what, number(res.value), t.unit, t, verdict, behind(res.behind))
	}
	b.WriteString("\n")
	return b.String()
}
