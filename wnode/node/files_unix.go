//go:build unix

package node

import (
	"math"
	"syscall"
)

// openFiles is how many files this process may have open at a time; 0 means not known.
func openFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || uint64(l.Cur) > math.MaxInt32 {
		return 0
	}
	return int(l.Cur)
}
