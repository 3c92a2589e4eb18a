package attempt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
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
			require.Equal(t, pushext.ScopeProvider, v.Scope)
			require.Equal(t, pushext.ScopeHost, a.LaterHost(now, "x 503").Scope)
			require.Equal(t, pushext.ScopeAddress, a.LaterHere(now, "x 429").Scope)
			require.Equal(t, v.Class, a.LaterHere(now, "x 429").Class)
		})
	}
}

// TestFailed is what the kinds of no answer are called. The error's own text, which may hold the URL, is never repeated.
func TestFailed(t *testing.T) {
	const secret = "https://push.example/secret"
	over := func(err error) error { return &url.Error{Op: "Post", URL: secret, Err: err} }
	for _, tt := range []struct {
		err  error
		want string
	}{
		{context.Canceled, "cancelled"},
		{over(context.Canceled), "cancelled"},
		{context.DeadlineExceeded, "timeout"},
		{over(context.DeadlineExceeded), "timeout"},
		{over(os.ErrDeadlineExceeded), "timeout"},
		{over(&net.DNSError{Err: "no such host", Name: "push.example", IsNotFound: true}), "dns"},
		{over(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving"}}), "dns"},
		{over(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "tls"},
		{over(tls.AlertError(40)), "tls"},
		{over(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), "tls"},
		{over(&net.OpError{Op: "read", Err: syscall.ECONNRESET}), "network"},
		{over(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), "network"},
		{over(io.ErrUnexpectedEOF), "network"},
		{errors.New(secret), "network"},
	} {
		require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "x " + tt.want}, Failed("x", tt.err), tt.err.Error())
	}
}
