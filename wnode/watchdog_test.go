package wnode

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	cfg := loopback(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := make(chan error)
	go func() { code <- serve(ctx, cfg, io.Discard, io.Discard) }()
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

// The first signal stops the node in order, and the second ends it at once, whatever it waits for.
func TestSecondSignalKills(t *testing.T) {
	t.Parallel()
	cfg := loopback(t)
	cmd := exec.Command("wnode", "--datadir", cfg.Node.DataDir, "--addr", "127.0.0.1", "--port", "0", "--nat", "none", "--nodiscover",
		"--http", "--http.port", "0")
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Process.Kill()
	log := bufio.NewScanner(stderr)
	until := func(message string) string {
		for log.Scan() {
			if strings.Contains(log.Text(), message) {
				return log.Text()
			}
		}
		require.FailNow(t, "the node ended", "without logging %q", message)
		return ""
	}
	line := until("the node runs")
	_, address, ok := strings.Cut(line, "[http ")
	require.True(t, ok, line)
	address, _, _ = strings.Cut(address, "]")
	caller, err := net.Dial("tcp", address) // whose request is under way: the node waits for its end for two seconds
	require.NoError(t, err)
	defer caller.Close()
	_, err = caller.Write([]byte("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"))
	require.NoError(t, err)
	answer, err := bufio.NewReader(caller).ReadString('\n') // once the body is asked for, it is under way
	require.NoError(t, err)
	require.Contains(t, answer, "100 Continue")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	until("stopping")
	ended := make(chan error, 1)
	go func() {
		io.Copy(io.Discard, stderr)
		ended <- cmd.Wait()
	}()
	for over := false; !over; { // one is lost if it comes before the node is ready for it
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err = <-ended:
			over = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	status := exit.Sys().(syscall.WaitStatus)
	require.True(t, status.Signaled(), "it ended by itself: %v", exit)
	require.Equal(t, syscall.SIGTERM, status.Signal())
}
