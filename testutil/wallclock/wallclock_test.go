//go:build linux && amd64

package wallclock_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/wallclock"
)

// childVar tells the test binary to be a process whose clock is read, on all processors.
const childVar = "WHISPERPUSH_WALLCLOCK_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) == "" {
		os.Exit(m.Run())
	}
	for range 4 {
		go func() {
			for {
				time.Now()
			}
		}()
	}
	began := time.Now()
	fmt.Println("ready") // a process that is being made has no clock yet
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(time.Now().UnixNano(), int64(time.Since(began)))
	}
}

// The wall clock of a busy process is put wrong, and right again; its monotonic clock is not.
func TestShift(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "the process ended")
	began := time.Now()
	for _, by := range []time.Duration{0, time.Hour, -25 * time.Hour, 3 * time.Second, 40 * 365 * 24 * time.Hour, -time.Second, 0} {
		require.NoError(t, wallclock.Shift(cmd.Process.Pid, by))
		before := time.Now()
		_, err := fmt.Fprintln(stdin)
		require.NoError(t, err)
		require.True(t, lines.Scan(), "the process ended")
		var wall, monotonic int64
		_, err = fmt.Sscan(lines.Text(), &wall, &monotonic)
		require.NoError(t, err)
		after := time.Now()
		require.GreaterOrEqual(t, wall, before.Add(by).UnixNano(), "%v", by)
		require.LessOrEqual(t, wall, after.Add(by).UnixNano(), "%v", by)
		require.Positive(t, monotonic)
		require.LessOrEqual(t, monotonic, int64(time.Since(began)+time.Minute))
	}
	require.Error(t, wallclock.Shift(cmd.Process.Pid, 100*365*24*time.Hour))
}
