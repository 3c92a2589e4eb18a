package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"whisperpush/mailserver/archive"
	"whisperpush/pushext/emulate"
)

// match compares the topic index with a bare map. Both have a million channels and
// are asked for the same topics, of which one in ten has a listener. The benchmark of
// the index's own package does it, in turns.
func (s *suite) match(ctx context.Context) error {
	binary := filepath.Join(s.dir, "topics.test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "whisperpush/pushext/pushserver/topics").CombinedOutput(); err != nil {
		return fmt.Errorf("build the benchmark: %w\n%s", err, out)
	}
	round := func(name string) func() (float64, error) {
		return func() (float64, error) {
			out, err := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", "^BenchmarkMatch$/^"+name+"$", "-test.benchtime", "1s", "-test.cpu", "1").CombinedOutput()
			if err != nil {
				return 0, fmt.Errorf("run the benchmark: %w\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if fields := strings.Fields(line); len(fields) >= 4 && fields[3] == "ns/op" {
					ns, err := strconv.ParseFloat(fields[2], 64)
					return 1e9 / ns, err
				}
			}
			return 0, fmt.Errorf("the benchmark %s printed no time:\n%s", name, out)
		}
	}
	index, bare, err := pairs(max(s.pairs, 3), round("index"), round("map"))
	if err != nil {
		return err
	}
	s.report.add("match_vs_map", ratio(index, bare), detail{"match_ours", median(index), "envelopes/s"}, detail{"match_map", median(bare), "envelopes/s"})
	return nil
}

// registered fills a data directory with channels, next to the large archive.
func (s *suite) registered(ctx context.Context, channels int) (*registrar, error) {
	m, err := s.largeArchive(ctx)
	if err != nil {
		return nil, err
	}
	archive := filepath.Join(m.dir, "archive")
	last, err := lastSequence(archive)
	if err != nil {
		return nil, err
	}
	dir, err := s.temp()
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(archive, filepath.Join(dir, "archive")); err != nil {
		return nil, err
	}
	service, err := emulate.StartFCM(emulate.FCMConfig{})
	if err != nil {
		return nil, err
	}
	defer service.Close()
	r, err := newRegistrar(dir, service)
	if err != nil {
		return nil, err
	}
	return r, r.fill(ctx, channels/s.perRegistration, s.perRegistration, last, deviceToken)
}

func lastSequence(dir string) (uint64, error) {
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		return 0, err
	}
	last := a.Last()
	return last, a.Close()
}

// channelsAndStart registers a million channels. It measures the heap that they take,
// and how long a node needs from its exec until it serves, compared with a bare
// iteration over the records that it has to read for that.
func (s *suite) channelsAndStart(ctx context.Context) error {
	r, err := s.registered(ctx, s.channels)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	held := s.channels / s.perRegistration * s.perRegistration

	before := heap()
	x, err := r.open(0, nil, make(replies))
	if err != nil {
		return err
	}
	after := heap()
	if err := x.Stop(ctx); err != nil {
		return err
	}
	s.report.add("channel_bytes", float64(after-before)/float64(held), detail{"channels", float64(held), "channels"},
		detail{"channels_per_registration", float64(s.perRegistration), "channels"})

	start := func() (float64, error) {
		n, err := s.startNode(ctx, r.dir, "--push", "--config", r.path("node.toml"))
		if err != nil {
			return 0, err
		}
		n.stop()
		return milliseconds(n.serving), nil
	}
	records := 0
	scan := func() (_ float64, err error) {
		took, n, err := scanRecords(r.path("push"))
		records = n
		return milliseconds(took), err
	}
	if _, err := start(); err != nil { // once for the caches, and to leave no journal to replay
		return err
	}
	starts, scans, err := pairs(s.pairs, start, scan)
	if err != nil {
		return err
	}
	s.report.add("startup_vs_scan", ratio(starts, scans), detail{"startup", median(starts), "ms"}, detail{"startup_scan", median(scans), "ms"},
		detail{"startup_records", float64(records), "records"}, detail{"startup_archived", float64(s.archived), "envelopes"})
	return nil
}

// heap is the size of reachable memory.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // frees what finalizers released
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// scanRecords opens a push database with goleveldb alone and iterates over its
// registrations, which are under two prefixes, doing nothing with them. The time does
// not include the opening.
func scanRecords(dir string) (took time.Duration, records int, err error) {
	db, err := leveldb.OpenFile(dir, &opt.Options{ReadOnly: true, ErrorIfMissing: true})
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	start := time.Now()
	for _, prefix := range []byte{'l', 'r'} {
		it := db.NewIterator(util.BytesPrefix([]byte{prefix}), nil)
		for it.Next() {
			records++
		}
		it.Release()
		if err := it.Error(); err != nil {
			return 0, 0, err
		}
	}
	return time.Since(start), records, nil
}

// idleAfter is how long a node is left alone before its memory is measured.
const idleAfter = 10 * time.Second

// idleMemory measures the memory of a node without traffic.
func (s *suite) idleMemory(ctx context.Context) error {
	r, err := s.registered(ctx, s.idle)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.dir)
	n, err := s.startNode(ctx, r.dir, "--push", "--config", r.path("node.toml"))
	if err != nil {
		return err
	}
	defer n.stop()
	first, err := resident(n.cmd.Process.Pid)
	if err != nil {
		return err
	}
	select {
	case <-time.After(idleAfter):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	later, err := resident(n.cmd.Process.Pid)
	if err != nil {
		return err
	}
	s.report.add("rss_idle", max(first, later), detail{"rss_at_start", first, "MiB"}, detail{"rss_later", later, "MiB"},
		detail{"rss_channels", float64(s.idle), "channels"}, detail{"rss_archived", float64(s.archived), "envelopes"})
	return nil
}

// resident is the resident set of a process in MiB.
func resident(pid int) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the memory of a process can be measured on Linux only: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("/proc does not tell the resident memory")
}
