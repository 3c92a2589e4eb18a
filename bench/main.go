package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"whisperpush/testutil/genuinenode"
	"whisperpush/testutil/genuinepostgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// sizes says how much each benchmark does.
type sizes struct {
	pairs           int           // alternating runs of each side
	ingest          int           // envelopes over one link
	archive         int           // envelopes into the archive in process
	archived        int           // envelopes in an archive that is queried
	queries         int           // of the genuine node
	fetches         int           // of 10 envelopes by hash, and as many pings
	channels        int           // registered, for matching and starting
	idle            int           // channels of an idle node
	ringFor         time.Duration // wake-ups at ringRate
	pushes          int           // through the provider, and by the bare loop
	hops            int           // messages from one node to the next
	perRegistration int           // channels
	sustainFor      time.Duration // for each rate that is tried
	sustainDevices  int           // registered, each woken once
	shared          int           // envelopes that a benchmark of nodes on PostgreSQL archives
	woken           int           // devices that such nodes wake as fast as they can
}

var (
	shortSizes = sizes{pairs: 2, ingest: 100_000, archive: 200_000, archived: 300_000, queries: 3, fetches: 1500,
		channels: 1_000_000, idle: 100_000, ringFor: 15 * time.Second, pushes: 10_000, hops: 40, perRegistration: 20, sustainFor: 4 * time.Second, sustainDevices: 150_000, shared: 100_000, woken: 12_000}
	fullSizes = sizes{pairs: 5, ingest: 300_000, archive: 300_000, archived: 1_000_000, queries: 5, fetches: 5000,
		channels: 1_000_000, idle: 100_000, ringFor: 60 * time.Second, pushes: 20_000, hops: 150, perRegistration: 20, sustainFor: 30 * time.Second, sustainDevices: 950_000, shared: 300_000, woken: 40_000}
)

// suite is what the benchmarks have in common.
type suite struct {
	sizes
	seed     int64
	dir      string    // all files of the run
	wnode    string    // our executable
	rival    string    // checkout of XMTP's notification server; empty: not measured
	wakeups  string    // file for each wake-up of ring; empty: none
	progress io.Writer // reports progress
	report   *report
	loads    map[genuinenode.Load]string // files of envelopes made so far
	large    *large                      // nil until it is made
	env      []string                    // of nodes, in addition to our own
	postgres *genuinepostgres.Server     // nil until it is needed
	latest   string                      // URL of the database that was made last
}

// benchmark measures one or more results that share their preparation.
type benchmark struct {
	names []string
	run   func(*suite, context.Context) error
}

// benchmarks in the order of the run: those that need a quiet disk first.
var benchmarks = []benchmark{
	{[]string{"wire_ingest_ratio"}, (*suite).wireIngest},
	{[]string{"wire_vs_rlpx"}, (*suite).wireReader},
	{[]string{"archive_ratio", "archive_vs_disk"}, (*suite).archiveThroughput},
	{[]string{"topic_query_ratio", "bloom_query_ratio"}, (*suite).mailQueries},
	{[]string{"hash_fetch_vs_ping"}, (*suite).hashFetch},
	{[]string{"match_vs_map"}, (*suite).match},
	{[]string{"channel_bytes", "startup_vs_scan"}, (*suite).channelsAndStart},
	{[]string{"rss_idle"}, (*suite).idleMemory},
	{[]string{"relay_p50_ratio"}, (*suite).relay},
	{[]string{"push_vs_http"}, (*suite).pushThroughput},
	{[]string{"ring_p50_vs_floor", "ring_p99_vs_floor", "ring_late", "rss_ringing"}, (*suite).ring},
	{[]string{"ring_sustained", "ring_cpu_vs_floor"}, (*suite).sustained},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if len(args) == 2 && args[0] == "bare" && bareLoops[args[1]] != nil {
		return bareLoops[args[1]](ctx, os.Stdin, stdout)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	several := flags.Bool("cluster", false, "measure nodes that share a PostgreSQL, in place of one with a directory")
	full := flags.Bool("full", false, "the large sizes instead of the short ones")
	only := flags.String("only", "", "measure only these `NAMES`, comma-separated; a beginning of a name is enough")
	seed := flags.Int64("seed", 1, "of all envelopes and keys that are made")
	rivals := flags.String("rival", "", "with -cluster, measure also beside XMTP's notification server, of which this `DIRECTORY` is a checkout")
	tmp := flags.String("tmp", "", "`DIRECTORY` for the databases, on the disk to be measured (default: the system's)")
	docs := flags.String("docs", "", "also write the results into performance.md and performance.svg, or cluster.md, in this `DIRECTORY`")
	note := flags.String("note", "", "a `SENTENCE` about this run, for the documents")
	wnode := flags.String("wnode", "", "measure this `EXECUTABLE` instead of building one")
	samples := flags.String("samples", "", "write when each envelope of ring was sent, and how long its wake-up took, to `FILE`")
	cpu := flags.String("cpuprofile", "", "write a CPU profile of this process to `FILE`; our node is another process")
	size := shortSizes
	override := sizeFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("there is no argument %q; name benchmarks with -only", flags.Arg(0))
	}
	if *rivals != "" && !*several {
		return errors.New("-rival needs -cluster: the rival is measured beside nodes on PostgreSQL")
	}
	if *full {
		size = fullSizes
	}
	if err := override(&size); err != nil {
		return err
	}
	all := benchmarks
	if *several {
		all = clusterBenchmarks
	}
	chosen, err := choose(all, *only)
	if err != nil {
		return err
	}
	if *cpu != "" {
		f, err := os.Create(*cpu)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}

	s := &suite{sizes: size, seed: *seed, wnode: *wnode, rival: *rivals, wakeups: *samples, progress: stderr, loads: make(map[genuinenode.Load]string)}
	if s.dir, err = os.MkdirTemp(*tmp, "whisperpush-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stopPostgres(), os.RemoveAll(s.dir)) }()
	s.report = newReport(*seed, *note, command(flags))
	s.report.full, s.report.cluster = *full, *several
	fmt.Fprintf(stderr, "seed %d, %d CPUs, %s\n", *seed, runtime.NumCPU(), runtime.Version())
	if err := s.build(ctx, !*several); err != nil {
		return err
	}
	var failed error // what was measured beside it is printed all the same
	for _, b := range chosen {
		if err := s.measure(ctx, b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", strings.Join(b.names, ", "), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := errors.Join(s.report.print(stdout), failed); err != nil {
		return err
	}
	if *docs != "" {
		return s.report.document(*docs)
	}
	return nil
}

// command is the command that repeats the run.
func command(flags *flag.FlagSet) string {
	target, rest := "make bench", ""
	flags.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "cluster":
			target = "make bench-cluster"
			rest += " -cluster"
		case "docs", "note", "tmp", "wnode", "samples", "cpuprofile": // do not affect what is measured
		case "rival":
			rest += " -rival DIRECTORY"
		case "full":
			target = "make bench-full"
			fallthrough
		default:
			rest += " -" + f.Name + "=" + f.Value.String()
		}
	})
	switch rest {
	case "", " -cluster", " -full=true":
		return target
	}
	return "go run ./bench" + rest
}

// measure runs one benchmark in a directory of its own.
func (s *suite) measure(ctx context.Context, b benchmark) error {
	start := time.Now()
	s.say("%s …", strings.Join(b.names, ", "))
	if err := b.run(s, ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	s.say("  %v", time.Since(start).Round(time.Second))
	return nil
}

func (s *suite) say(format string, args ...any) { fmt.Fprintf(s.progress, format+"\n", args...) }

// build compiles our node, and the genuine one if that is needed.
func (s *suite) build(ctx context.Context, genuine bool) error {
	if s.wnode == "" {
		s.wnode = filepath.Join(s.dir, "wnode")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.wnode, "whisperpush/cmd/wnode").CombinedOutput(); err != nil {
			return fmt.Errorf("build wnode (run inside the whisperpush checkout): %w\n%s", err, out)
		}
	}
	if !genuine {
		return nil
	}
	_, err := genuinenode.Build(ctx)
	return err
}

// temp makes a new directory for the run. The caller may remove it early.
func (s *suite) temp() (string, error) { return os.MkdirTemp(s.dir, "") }

// choose picks from all the benchmarks that measure the given names.
func choose(all []benchmark, only string) ([]benchmark, error) {
	if only == "" {
		return all, nil
	}
	var names, known []string
	for _, b := range all {
		known = append(known, b.names...)
	}
	for name := range strings.SplitSeq(only, ",") {
		name = strings.TrimSpace(name)
		found := false
		for _, k := range known {
			if strings.HasPrefix(k, name) {
				names, found = append(names, k), true
			}
		}
		if name == "" || !found {
			return nil, fmt.Errorf("-only %q names no benchmark; there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(b benchmark) bool {
		return !slices.ContainsFunc(b.names, func(n string) bool { return slices.Contains(names, n) })
	}), nil
}

// sizeFlags adds a flag for each size. The returned function applies the flags that were
// given to the sizes.
func sizeFlags(flags *flag.FlagSet) func(*sizes) error {
	numbers := []struct {
		name, usage string
		field       func(*sizes) *int
	}{
		{"pairs", "alternating runs of each side", func(s *sizes) *int { return &s.pairs }},
		{"ingest", "envelopes over one link", func(s *sizes) *int { return &s.ingest }},
		{"archive", "envelopes into the archive in process", func(s *sizes) *int { return &s.archive }},
		{"archived", "envelopes in the archive that is queried", func(s *sizes) *int { return &s.archived }},
		{"queries", "queries of the genuine node", func(s *sizes) *int { return &s.queries }},
		{"fetches", "fetches by hash, and pings", func(s *sizes) *int { return &s.fetches }},
		{"channels", "channels to match and to start with", func(s *sizes) *int { return &s.channels }},
		{"perregistration", "channels of one registration", func(s *sizes) *int { return &s.perRegistration }},
		{"idle", "channels of the idle node", func(s *sizes) *int { return &s.idle }},
		{"pushes", "pushes through the provider", func(s *sizes) *int { return &s.pushes }},
		{"shared", "envelopes in an archive on PostgreSQL", func(s *sizes) *int { return &s.shared }},
		{"woken", "devices that nodes on PostgreSQL wake", func(s *sizes) *int { return &s.woken }},
		{"hops", "messages between two nodes", func(s *sizes) *int { return &s.hops }},
	}
	values := make([]*int, len(numbers))
	for i, n := range numbers {
		values[i] = flags.Int(n.name, 0, n.usage+" (default: as -full says)")
	}
	ring := flags.Duration("ring", 0, "how long wake-ups are sent (default: as -full says)")
	return func(s *sizes) error {
		for i, n := range numbers {
			switch v := *values[i]; {
			case v < 0:
				return fmt.Errorf("-%s %d: give a positive number", n.name, v)
			case v > 0:
				*n.field(s) = v
			}
		}
		if *ring < 0 {
			return fmt.Errorf("-ring %v: give a positive duration", *ring)
		}
		if *ring > 0 {
			s.ringFor = *ring
		}
		return nil
	}
}
