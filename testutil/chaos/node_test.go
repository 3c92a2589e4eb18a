//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/faultproxy"
	"whisperpush/testutil/quietport"
	"whisperpush/testutil/smalldisk"
)

// node is one of the nodes: a directory, its way to the database, and a process most of
// the time.
type node struct {
	t        testing.TB
	name     string
	dir      string
	settings string // path of its configuration
	port     int
	url      string // of the database, through the proxy
	proxy    *faultproxy.Proxy
	enode    *enode.Node
	stderr   lastLines
	disk     *smalldisk.Disk // of its directory; nil: it has none of its own

	earlier string // program of another version that runs in place of this one; the driving goroutine's

	mu  sync.Mutex // guards the following field
	cmd *exec.Cmd  // nil: it does not run
}

// build builds the program of a commit of this repository, and returns its path.
func build(t testing.TB, commit string) string {
	t.Helper()
	dir := t.TempDir()
	tree := exec.Command("sh", "-c", `git -C "$(git rev-parse --show-toplevel)" archive "$0" | tar -x -C "$1"`, commit, dir)
	said, err := tree.CombinedOutput()
	require.NoError(t, err, "%s", said)
	program := filepath.Join(dir, "wnode.earlier")
	compile := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/wnode")
	compile.Dir = dir
	said, err = compile.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return program
}

// lastLines keeps the end of what is written to it.
type lastLines struct {
	mu sync.Mutex
	b  []byte
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > 64<<10 {
		l.b = bytes.Clone(l.b[len(l.b)-32<<10:])
	}
	return len(p), nil
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// nodeDisk is how large the disk of a node is.
const nodeDisk = "16m"

// newNode prepares a node. keys are the files that all nodes share. disk may be nil.
func newNode(t testing.TB, name, settings, target, url string, disk *smalldisk.Disk, keys map[string]string) *node {
	t.Helper()
	n := &node{t: t, name: name, dir: t.TempDir(), disk: disk}
	n.settings = filepath.Join(t.TempDir(), "node.toml")
	if disk != nil {
		n.dir = filepath.Join(disk.Dir, "data")
		require.NoError(t, os.Mkdir(n.dir, 0o700))
	}
	for file, secret := range keys {
		require.NoError(t, os.WriteFile(filepath.Join(n.dir, file), []byte(secret), 0o600))
	}
	own, err := crypto.GenerateKey()
	require.NoError(t, err)
	require.NoError(t, crypto.SaveECDSA(filepath.Join(n.dir, "nodekey"), own))
	n.proxy, err = faultproxy.Listen(target, faultproxy.Profile{}, 1)
	require.NoError(t, err)
	t.Cleanup(n.proxy.Close)
	n.url = strings.Replace(url, target, n.proxy.Addr(), 1)
	n.port, err = quietport.Free()
	require.NoError(t, err)
	n.enode = enode.NewV4(&own.PublicKey, net.IPv4(127, 0, 0, 1), n.port, 0)
	require.NoError(t, os.WriteFile(n.settings, []byte(settings), 0o600))
	return n
}

// maxPeers is for all devices that keep links, at one node if it is the last, and as many again.
const maxPeers = 1000

// lastWords is how much of a log is told of a node that did not start.
const lastWords = 2 << 10

// start starts the process, and waits until it serves.
func (n *node) start(password string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if n.earlier != "" {
		self = n.earlier
	}
	cmd := exec.Command(self, "--datadir", n.dir, "--config", n.settings, "--store", n.url, "--push", "--addr", "127.0.0.1", "--port", strconv.Itoa(n.port),
		"--nat", "none", "--nodiscover", "--ipcdisable", "--maxpeers", strconv.Itoa(maxPeers), "--shh.pow", "0", "--verbosity", "3")
	cmd.Env = append(os.Environ(), childVar+"=1", "PGPASSWORD="+password)
	cmd.Stderr = &n.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(stdout)
	for range 2 {
		if _, err := lines.ReadString('\n'); err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			said := n.stderr.String()
			return fmt.Errorf("%s did not start: %w\n…%s", n.name, err, said[max(0, len(said)-lastWords):])
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd = cmd
	go io.Copy(io.Discard, lines)
	return nil
}

// signal sends a signal to the process.
func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		n.cmd.Process.Signal(s)
	}
}

// pid is the process's number.
func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

// kill is kill -9, and waits for the process to be gone.
func (n *node) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		n.cmd.Process.Kill()
		n.cmd.Wait()
		n.cmd = nil
	}
}
