// Command slo measures the promise: a message that should notify wakes its device,
// and is fetched, within 15 seconds of being written, whatever the phones' networks
// and push services do meanwhile.
//
//	go run ./bench/slo -messages 10000 -devices 1000 -duration 5m -seed 1
//
// The flow: main starts an emulator of every type of provider, a mailserver with
// push as a process of its own (server.go), a writer connected to it over devp2p
// (writer.go), and devices that use the real client SDK through fault proxies with
// the latency, bandwidth and losses of Wi-Fi, 4G and 2G (device.go). The plan
// (plan.go), drawn from the seed, says who writes what when, and what fails when: a
// provider is down for 8 s, another throttles with Retry-After, the server is
// stopped and killed. An eighth of the devices are rung over links that they keep.
// A third of those hang up midway, and a third stop answering while their link
// seems to be up: their messages must arrive by their second route, a push service.
//
// The ledger (ledger.go) notes when each message was written, when a wake-up for it
// was accepted and when its preview was shown. The report is computed from it. At
// the end, the same devices fetch their full range, to compare the bytes
// (baseline.go).
//
// The other devices are not connected while they sleep: each wake-up dials, as a
// phone does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"whisperpush/wnode"
)

// childVar makes the program a node: the server under test is a process of its own,
// so that it can be killed.
const childVar = "WHISPERPUSH_SLO_CHILD"

// profileVar names a file for the node's CPU profile.
const profileVar = "WHISPERPUSH_SLO_PROFILE"

func main() {
	if os.Getenv(childVar) != "" {
		os.Exit(child())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o Options
	flag.IntVar(&o.Messages, "messages", 10_000, "messages to write")
	flag.IntVar(&o.Devices, "devices", 1_000, "devices to wake")
	flag.DurationVar(&o.Duration, "duration", 5*time.Minute, "how long the writing takes")
	flag.Uint64Var(&o.Seed, "seed", 1, "of who writes what when, and of what fails")
	keep := flag.String("log", "", "file for the server's log")
	flag.Parse()
	if flag.NArg() > 0 || o.check() != nil {
		fmt.Fprintln(os.Stderr, "slo:", errors.Join(o.check(), fmt.Errorf("see slo -h")))
		os.Exit(2)
	}
	o.Progress = os.Stderr
	if *keep != "" {
		file, err := os.Create(*keep)
		if err != nil {
			fmt.Fprintln(os.Stderr, "slo:", err)
			os.Exit(2)
		}
		defer file.Close()
		o.ServerLog = file
	}
	report, err := Run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "slo:", err)
		os.Exit(1)
	}
	report.Print(os.Stdout)
	if err := report.Judge(); err != nil {
		fmt.Fprintln(os.Stderr, "slo:", err)
		os.Exit(1)
	}
}

// child runs the node.
func child() int {
	if path := os.Getenv(profileVar); path != "" {
		file, err := os.Create(path)
		if err == nil && pprof.StartCPUProfile(file) == nil {
			defer func() {
				pprof.StopCPUProfile()
				file.Close()
			}()
		}
	}
	return wnode.Main(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr)
}

// Options of a run.
type Options struct {
	Messages, Devices int
	Duration          time.Duration // of the writing
	Seed              uint64
	Progress          io.Writer // nil: silent
	ServerLog         io.Writer // nil: discarded
}

func (o *Options) check() error {
	switch {
	case o.Devices < 10 || o.Devices > 20_000:
		return fmt.Errorf("%d devices; give 10 to 20000", o.Devices)
	case o.Messages < o.Devices || o.Messages > 100*o.Devices:
		return fmt.Errorf("%d messages; give 1 to 100 for each of %d devices", o.Messages, o.Devices)
	case o.Duration < 20*time.Second:
		return fmt.Errorf("a duration of %v; give at least 20s, as long as the faults last", o.Duration)
	}
	return nil
}
