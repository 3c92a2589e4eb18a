package main

import (
	"os"
	"strconv"
	"strings"
)

// clock is processor time of the whole machine since it started, in ticks of the kernel.
type clock struct{ stolen, all float64 }

// readClock reads /proc/stat, proc(5). Where there is none all is 0.
func readClock() (c clock) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return clock{}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	const steal = 8 // cpu user nice system idle iowait irq softirq steal
	if len(fields) <= steal {
		return clock{}
	}
	for i, field := range fields[1 : steal+1] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return clock{}
		}
		c.all += ticks
		if i+1 == steal {
			c.stolen = ticks
		}
	}
	return c
}

// stolenSince is how much of the processors' time since an earlier clock a virtual
// machine's host has given to others, as a detail of a report; none where that is not known.
func (c clock) stolenSince(name string) []detail {
	now := readClock()
	if c.all == 0 || now.all <= c.all {
		return nil
	}
	return []detail{{name, 100 * (now.stolen - c.stolen) / (now.all - c.all), "%"}}
}
