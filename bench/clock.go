package main

import (
	"os"
	"strconv"
	"strings"
)

// clock is processor time of the whole machine since it started, in ticks of the kernel.
type clock struct{ idle, stolen, all float64 }

// readClock reads /proc/stat, proc(5). Where there is none all is 0.
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

// sharesSince is how much of the processors' time since an earlier clock was used, and
// how much a virtual machine's host has given to others, as details of ring; none
// where that is not known.
func (c clock) sharesSince() []detail {
	now := readClock()
	if c.all == 0 || now.all <= c.all {
		return nil
	}
	share := func(ticks float64) float64 { return 100 * ticks / (now.all - c.all) }
	stolen := share(now.stolen - c.stolen)
	return []detail{{"ring_stolen", stolen, "%"}, {"ring_busy", 100 - share(now.idle-c.idle) - stolen, "%"}}
}
