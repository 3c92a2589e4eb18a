package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/loopback"
)

// systemd plays systemd towards this process: it hears what is told to it.
func systemd(t *testing.T, watchdog time.Duration) (heard func() string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	return func() string {
		b := make([]byte, 1024)
		n, err := conn.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
}

// systemd is told when the node is up, again and again that it is well, and when it stops.
func TestSystemd(t *testing.T) {
	heard := systemd(t, 10*time.Millisecond)
	cfg := loopback.Config(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := make(chan error)
	go func() { code <- Serve(ctx, cfg, Again{}, io.Discard, io.Discard) }()
	require.Equal(t, "READY=1", heard())
	for range 3 {
		require.Equal(t, "WATCHDOG=1\nSTATUS=", heard())
	}
	cancel()
	for {
		said := heard()
		if said == "STOPPING=1" {
			break
		}
		require.Equal(t, "WATCHDOG=1\nSTATUS=", said)
	}
	require.NoError(t, <-code)
}

// A node that is not well does not feed the watchdog, and says why, until it is well again.
func TestSickNodeStarvesTheWatchdog(t *testing.T) {
	heard := systemd(t, 10*time.Millisecond)
	health := make(chan error)
	stop := inBackground(func(ctx context.Context) {
		feedWatchdog(ctx, func() error {
			select {
			case err := <-health:
				return err
			case <-ctx.Done():
				return nil
			}
		}, slog.New(slog.DiscardHandler))
	})
	defer stop()
	health <- nil
	require.Equal(t, "WATCHDOG=1\nSTATUS=", heard())
	for range 2 {
		health <- errors.New("the disk is full")
		require.Equal(t, "STATUS=the disk is full", heard())
	}
	health <- nil
	require.Equal(t, "WATCHDOG=1\nSTATUS=", heard())
}
