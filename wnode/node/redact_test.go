package node

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	ethlog "github.com/ethereum/go-ethereum/log"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"plain words, 12 of them":                                     "plain words, 12 of them",
		"dial tcp 203.0.113.7:30303: connect: connection refused":     "dial tcp [ip]: connect: connection refused",
		"dial tcp [2001:db8::7]:30303: i/o timeout":                   "dial tcp [ip]: i/o timeout",
		"from 2001:db8::7 and 10.0.0.1":                               "from [ip] and [ip]",
		"listening on 127.0.0.1:8545, [::]:30303 and 0.0.0.0":         "listening on 127.0.0.1:8545, [::]:30303 and 0.0.0.0",
		`Post "https://push.example/u/s3cret?x=1": EOF`:               `Post "[url]": EOF`,
		"enode://00ff@127.0.0.1:1":                                    "[url]",
		"enr:-abc_DEF":                                                "[url]",
		"topic 0xdeadbeef":                                            "topic [hex]",
		"hash " + strings.Repeat("ab", 32):                            "hash [hex]",
		"token dGVzdA:APA91bH" + strings.Repeat("x-_9", 30) + " dead": "token [token] dead",
		"seq 123456789012345":                                         "seq 123456789012345",
		"at 12:34:56 took 1m30s":                                      "at 12:34:56 took 1m30s",
		"version 1.17.10":                                             "version 1.17.10",
		"/var/lib/whisperpush/push.disk.key":                          "/var/lib/whisperpush/push.disk.key",
	} {
		require.Equal(t, want, Redact(in))
	}
}

// A canary put into every place of a log record comes out of neither format.
func TestLoggerRedacts(t *testing.T) {
	const canary = "cafebabecafebabecafebabecafebabe"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		logger := NewLogger(&out, config.Log{Verbosity: 5, Format: format})
		err := errors.New("send to 198.51.100.23:443: " + canary)
		logger.Info("message "+canary, "value", canary, "err", err, "addr", netip.MustParseAddrPort("198.51.100.23:1"))
		logger.With("id", canary).WithGroup("g").Debug("m", slog.Group("h", "x", []string{canary}, "y", []byte(canary)))
		ethLogger(logger).Trace("m", "conn", canary)
		ethLogger(logger).Trace("m " + canary)
		require.NotContains(t, out.String(), canary)
		require.NotContains(t, out.String(), "198.51.100.23")
		require.Contains(t, out.String(), "TRACE")
		require.Equal(t, 4, strings.Count(out.String(), "\n"))
	}
}

func TestVerbosity(t *testing.T) {
	for verbosity := range 6 {
		var out bytes.Buffer
		logger := NewLogger(&out, config.Log{Verbosity: verbosity, Format: "text"})
		for _, level := range []slog.Level{ethlog.LevelTrace, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			logger.Log(t.Context(), level, "x")
		}
		require.Equal(t, verbosity, strings.Count(out.String(), "\n"), out.String())
	}
}
