package registration

import "time"

// Millis returns a time in the form of all records: Unix milliseconds.
func Millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// FromMillis reverses Millis.
func FromMillis(ms uint64) time.Time { return time.UnixMilli(int64(ms)) }
