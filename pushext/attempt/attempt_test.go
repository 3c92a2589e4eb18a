package attempt

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	tests := []struct {
		name, value string
		want        time.Time
		ok          bool
	}{
		{"none", "", time.Time{}, false},
		{"seconds", "7", now.Add(7 * time.Second), true},
		{"zero", "0", now, true},
		{"date", now.Add(90 * time.Second).Format(http.TimeFormat), now.Add(90 * time.Second), true},
		{"past date", now.Add(-time.Hour).Format(http.TimeFormat), now, true},
		{"negative", "-5", time.Time{}, false},
		{"fraction", "1.5", time.Time{}, false},
		{"words", "soon", time.Time{}, false},
		{"a year", "31536000", now.Add(MaxRetryAfter), true},
		{"overflow", "9223372036854775807", now.Add(MaxRetryAfter), true},
		{"beyond int64", "99999999999999999999", time.Time{}, false},
		{"far date", now.AddDate(3, 0, 0).Format(http.TimeFormat), now.Add(MaxRetryAfter), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := Answer{Header: http.Header{}}
			if tt.value != "" {
				a.Header.Set("Retry-After", tt.value)
			}
			at, ok := a.RetryAfter(now)
			require.Equal(t, tt.ok, ok)
			require.True(t, tt.want.Equal(at), at)
			v := a.Later(now, "x 503")
			require.Equal(t, "x 503", v.Reason)
			if tt.ok {
				require.Equal(t, pushext.RetryAt, v.Class)
			} else {
				require.Equal(t, pushext.Retry, v.Class)
			}
		})
	}
}

func TestFailed(t *testing.T) {
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "x cancelled"}, Failed("x", context.Canceled))
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "x timeout"}, Failed("x", context.DeadlineExceeded))
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "x network"}, Failed("x", errors.New("https://secret/")))
}
