//go:build !(linux && amd64)

package wallclock

import (
	"errors"
	"time"
)

// Shift needs Linux on amd64.
func Shift(int, time.Duration) error { return ErrUnsupported }
