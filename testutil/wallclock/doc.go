// Package wallclock sets the wall clock of another process wrong, and of that process
// alone, while it runs: for tests of what a computer's clock may do that steps by hours.
//
// A Go program reads the time by a function that the kernel maps into every process, the
// vDSO, which no preloaded library stands in for, and a time namespace moves the monotonic
// clocks only. Shift writes another body over that function, in the memory of the process:
// it asks the kernel, and adds an offset if CLOCK_REALTIME is asked for. The monotonic
// clock goes on as it does when a computer's clock is set. Neither the program nor its
// source is changed, so this works with a program of any version.
//
// It needs Linux on amd64, and the right to trace the process: to be its parent, or root.
package wallclock

import "errors"

// ErrUnsupported says that clocks of processes cannot be set on this system.
var ErrUnsupported = errors.New("the clock of a process is set on Linux on amd64 alone")
