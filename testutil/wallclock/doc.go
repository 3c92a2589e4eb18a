// Package wallclock sets the wall clock of one other process wrong while it runs, for
// tests of a computer's clock that steps by hours.
//
// A Go program reads the time through a function that the kernel maps into every process,
// the vDSO. A preloaded library cannot replace it, and a time namespace moves only the
// monotonic clocks. Shift overwrites the body of that function in the memory of the
// process: the new one asks the kernel, and adds an offset for CLOCK_REALTIME. The
// monotonic clock goes on as it does when a computer's clock is set. Neither the program
// nor its source is changed, so this works with any version of a program.
//
// It needs Linux on amd64, and the right to trace the process: as its parent, or as root.
package wallclock

import "errors"

// ErrUnsupported says that clocks of processes cannot be set on this system.
var ErrUnsupported = errors.New("the clock of a process is set on Linux on amd64 alone")
