package wnode

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/config"
	"whisperpush/testutil/loopback"
	"whisperpush/wnode/node"
)

// run starts a node that stops with the test.
func run(t *testing.T, cfg config.Config) *node.Node {
	t.Helper()
	require.NoError(t, cfg.Validate())
	n, err := node.Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(n.Stop)
	return n
}

// noLeaks checks at the end of the test that no goroutine is left but one that goleveldb lets linger for a second.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
	})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return key
}

// A directory that is another program's is refused by every command that would use it, and not touched.
func TestCommandsRefuseForeignDataDirs(t *testing.T) {
	for want, file := range map[string]string{
		"is a data directory of geth":                              "geth/nodekey",
		"holds a LevelDB database of another program":              "CURRENT",
		"is the archive in a data directory; choose the directory": "log.json",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, filepath.FromSlash(file))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		for _, args := range [][]string{{"--ipcdisable", "--datadir", dir}, {"recover", "--datadir", dir}, {"doctor", "--datadir", dir}} {
			var stdout, stderr bytes.Buffer
			require.Equal(t, 1, Main(t.Context(), append([]string{"wnode"}, args...), nil, &stdout, &stderr), args)
			require.Contains(t, stdout.String()+stderr.String(), want)
		}
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1, "it is not touched")
	}
}

// Main in this process: it ends with its context, and leaves nothing.
func TestMainEndsWithItsContext(t *testing.T) {
	noLeaks(t)
	cfg := loopback.Config(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stdout, announced := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int)
	go func() {
		code <- Main(ctx, []string{"wnode", "--datadir", cfg.Node.DataDir, "--addr", "127.0.0.1", "--port", "0", "--nat", "none",
			"--nodiscover", "--log.format", "json"}, nil, announced, &stderr)
	}()
	line := make([]byte, 1024)
	n, err := stdout.Read(line)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(line[:n]), "enode: enode://"))
	cancel(errors.New("enough"))
	require.Equal(t, 0, <-code)
	for record := range strings.Lines(stderr.String()) {
		require.True(t, json.Valid([]byte(record)), record)
	}
}

// The first signal stops the node in order, and the second ends it at once, whatever it waits for.
func TestSecondSignalKills(t *testing.T) {
	t.Parallel()
	cfg := loopback.Config(t)
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

// A user who may not write the data directory, or not read what is in it, is told the path and what to do.
func TestDataDirOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	parent, err := os.MkdirTemp("", "wnode")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(parent) })
	require.NoError(t, os.Chmod(parent, 0o755))
	program := filepath.Join(parent, "wnode")
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, self, 0o755))
	asNobody := func(dir string) string {
		cmd := exec.Command(program, "--datadir", dir, "--mailserver", "--addr", "127.0.0.1", "--port", "0", "--nat", "none", "--nodiscover")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Env, cmd.Dir = append(os.Environ(), "HOME="+parent), parent
		said, err := cmd.CombinedOutput()
		require.Error(t, err)
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		return lines[len(lines)-1]
	}
	roots := filepath.Join(parent, "roots")
	require.NoError(t, os.Mkdir(roots, 0o755))
	require.Equal(t, "wnode: the data directory "+roots+" cannot be written by this user; give it to the user with chown, or choose another with --datadir", asNobody(roots))
	below := filepath.Join(roots, "below")
	require.Equal(t, "wnode: the data directory "+below+" cannot be written by this user; give it to the user with chown, or choose another with --datadir", asNobody(below))

	// It was started as root once, and given to the user without what is in it.
	cfg := loopback.Config(t)
	cfg.Mailserver.Enabled = true
	run(t, cfg).Stop()
	require.NoError(t, os.Chmod(cfg.Node.DataDir, 0o755))
	require.NoError(t, os.Chown(cfg.Node.DataDir, 65534, 65534))
	require.NoError(t, os.Chown(filepath.Join(cfg.Node.DataDir, "LOCK"), 65534, 65534))
	require.NoError(t, os.Chown(filepath.Join(cfg.Node.DataDir, "nodekey"), 65534, 65534))
	said := asNobody(cfg.Node.DataDir)
	require.Contains(t, said, "wnode: "+filepath.Join(cfg.Node.DataDir, "archive"))
	require.Contains(t, said, " cannot be read and written by this user; give it to the user with chown -R, or run as the user whose it is")
}
