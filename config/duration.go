package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written with days too: "30d", "1d12h", "90m". "0" is none.
type Duration time.Duration

const day = 24 * time.Hour

// maxDuration keeps sums of a duration and a clock inside an int64: 100 years.
const maxDuration = 100 * 365 * day

// anyClock is the form of what time.ParseDuration reads, of any length.
var anyClock = regexp.MustCompile(`^[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$`)

// ParseDuration reads what String writes. The error says whether it is not a duration or out of range.
func ParseDuration(s string) (Duration, error) {
	outOfRange := fmt.Errorf("%q is out of range; a duration is from 0 to %d days", s, maxDuration/day)
	bad := fmt.Errorf("%q is not a duration; write it like \"30d\", \"36h\" or \"90m\"", s)
	var days int64
	rest := s
	if before, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseInt(before, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return 0, outOfRange
		case err != nil:
			return 0, bad
		}
		days, rest = n, after
	}
	var clock time.Duration
	if rest != "" || s == "" {
		var err error
		switch clock, err = time.ParseDuration(rest); {
		case err != nil && anyClock.MatchString(rest):
			return 0, outOfRange
		case err != nil:
			return 0, bad
		}
	}
	if days < 0 || clock < 0 || days > int64(maxDuration/day) || time.Duration(days)*day+clock > maxDuration {
		return 0, outOfRange
	}
	return Duration(time.Duration(days)*day + clock), nil
}

// String writes whole days as days and the rest as time.Duration does.
func (d Duration) String() string {
	days, clock := time.Duration(d)/day, time.Duration(d)%day
	switch {
	case days == 0:
		return shorten(clock)
	case clock == 0:
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%s", days, shorten(clock))
}

// shorten drops the zero units that time.Duration writes at the end: "36h0m0s" is "36h".
func shorten(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}
