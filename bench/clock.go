package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clock is processor time of the whole machine since it started, in ticks of the kernel.
type clock struct{ idle, stolen, all float64 }

// readClock reads /proc/stat, proc(5). Without it all fields are 0.
func readClock() (c clock) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return clock{}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	const idle, iowait, steal = 4, 5, 8 // cpu user nice system idle iowait irq softirq steal
	if len(fields) <= steal {
		return clock{}
	}
	for i, field := range fields[1 : steal+1] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return clock{}
		}
		c.all += ticks
		switch i + 1 {
		case idle, iowait:
			c.idle += ticks
		case steal:
			c.stolen = ticks
		}
	}
	return c
}

// sharesSince returns the share of the processors' time since an earlier clock that was
// used, and the share that a virtual machine's host gave to others, as details of ring; none
// if that is not known.
func (c clock) sharesSince() []detail {
	now := readClock()
	if c.all == 0 || now.all <= c.all {
		return nil
	}
	share := func(ticks float64) float64 { return 100 * ticks / (now.all - c.all) }
	stolen := share(now.stolen - c.stolen)
	return []detail{{"ring_stolen", stolen, "%"}, {"ring_busy", 100 - share(now.idle-c.idle) - stolen, "%"}}
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpu is the processor time that the node has used, from /proc/PID/stat, proc(5), which
// counts in hundredths of a second.
func (n *node) cpu() time.Duration {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(n.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after the name, which may contain spaces
	fields := strings.Fields(rest)
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0
	}
	ticks := 0
	for _, field := range fields[utime : stime+1] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}

// watchMemory sends the largest resident size of the node that it saw, in MiB, once ctx
// ends.
func (n *node) watchMemory(ctx context.Context) <-chan float64 {
	most := make(chan float64, 1)
	go func() {
		tick := time.NewTicker(gaugeEvery)
		defer tick.Stop()
		peak := 0.0
		for {
			if now, err := resident(n.cmd.Process.Pid); err == nil {
				peak = max(peak, now)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				most <- peak
				return
			}
		}
	}()
	return most
}
