package pushserver

import "time"

// millis is a time as all records keep it: Unix milliseconds.
func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// fromMillis reverses millis.
func fromMillis(ms uint64) time.Time { return time.UnixMilli(int64(ms)) }
