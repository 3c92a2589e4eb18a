//go:build linux

package torture

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/emulate"
	"whisperpush/testutil/quietport"
)

// site is where a node lives: what stays when its process does not.
type site struct {
	t       testing.TB
	dir     string
	config  string
	port    int // fixed, so that devices find it again
	metrics int
	args    []string
}

// newSite prepares a node with push over the given emulator.
func newSite(t testing.TB, fcm *emulate.FCM, extra ...string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, dir: filepath.Join(dir, "data"), config: filepath.Join(dir, "node.toml"), port: quietPort(t), metrics: quietPort(t), args: extra}
	text := ""
	if fcm != nil {
		credentials := filepath.Join(dir, "account.json")
		require.NoError(t, os.WriteFile(credentials, fcm.CredentialsJSON(), 0o600))
		text = fmt.Sprintf("[[Push.Provider]]\nType = \"fcm\"\nEndpoint = %q\nCredentialsFile = %q\n", fcm.Endpoint(), credentials)
	}
	require.NoError(t, os.WriteFile(s.config, []byte(text), 0o600))
	require.NoError(t, os.MkdirAll(s.dir, 0o700))
	return s
}

// quietPort finds a port that nobody takes while the node is down.
func quietPort(t testing.TB) int {
	port, err := quietport.Free()
	require.NoError(t, err)
	return port
}

// process is one life of a node.
type process struct {
	site    *site
	cmd     *exec.Cmd
	stderr  *tail
	exited  chan struct{} // closed after Wait
	err     error         // of Wait
	server  *enode.Node
	pushKey string
	took    time.Duration // until it served
}

// spawn starts the program without waiting for anything. wrap, if there is any,
// is a command that runs it.
func (s *site) spawn(wrap ...string) (*process, *bufio.Reader) {
	s.t.Helper()
	self, err := os.Executable()
	require.NoError(s.t, err)
	args := append(wrap, self, "--datadir", s.dir, "--config", s.config, "--push", "--addr", "127.0.0.1", "--port", strconv.Itoa(s.port),
		"--nat", "none", "--nodiscover", "--shh.pow", "0", "--ipcdisable", "--metrics", "--metrics.port", strconv.Itoa(s.metrics))
	args = append(args, s.args...)
	p := &process{site: s, cmd: exec.Command(args[0], args[1:]...), stderr: new(tail), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childVar+"=wnode")
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, p.cmd.Start())
	s.t.Cleanup(func() { p.kill() })
	return p, bufio.NewReader(stdout)
}

// start starts the program and waits until it serves.
func (s *site) start(wrap ...string) *process {
	s.t.Helper()
	began := time.Now()
	p, stdout := s.spawn(wrap...)
	words := map[string]string{}
	for range 2 {
		line, err := stdout.ReadString('\n')
		if err != nil {
			p.wait(stdout)
			<-p.exited
			require.FailNow(s.t, "the node did not start", "%v\n%s", p.err, p.stderr)
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		words[name] = strings.TrimSpace(value)
	}
	p.took = time.Since(began)
	p.wait(stdout)
	node, err := enode.Parse(enode.ValidSchemes, words["enode"])
	require.NoError(s.t, err)
	p.server, p.pushKey = node, words["pushkey"]
	return p
}

// wait reaps the process when it ends.
func (p *process) wait(stdout *bufio.Reader) {
	go func() {
		io.Copy(io.Discard, stdout)
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
}

// kill is kill -9, and waits for the process to be gone.
func (p *process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // its group, for it may be wrapped
	select {
	case <-p.exited:
	case <-time.After(time.Second): // nobody waits for one that never served
		p.cmd.Wait()
	}
}

// alive reports whether the process has not ended by itself.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop is SIGTERM, and demands a clean end.
func (p *process) stop() {
	p.site.t.Helper()
	require.NoError(p.site.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
		require.NoError(p.site.t, p.err, p.stderr.String())
	case <-time.After(time.Minute):
		p.kill()
		require.FailNow(p.site.t, "the node does not stop", p.stderr.String())
	}
}

// metric sums the samples whose line begins with prefix.
func (p *process) metric(prefix string) (sum float64) {
	p.site.t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", p.site.metrics))
	require.NoError(p.site.t, err)
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			require.NoError(p.site.t, err)
			sum += value
		}
	}
	return sum
}

// autopsy ends the process and returns its counters, its log and what its
// goroutines were doing.
func (p *process) autopsy() string {
	var report strings.Builder
	client := http.Client{Timeout: 20 * time.Second}
	if answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", p.site.metrics)); err == nil {
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if line := lines.Text(); strings.HasPrefix(line, "whisperpush_") && !strings.Contains(line, "_bucket{") && !strings.HasSuffix(line, " 0") {
				report.WriteString(line + "\n")
			}
		}
		answer.Body.Close()
	}
	p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
	}
	return report.String() + p.stderr.String()
}

// peakMemory is the most memory the process ever had resident, in bytes.
func (p *process) peakMemory() int64 {
	p.site.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p.site.t, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			require.NoError(p.site.t, err)
			return kib << 10
		}
	}
	return 0
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 64 << 10

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if n := w.buf.Len(); n > 2*tailSize {
		w.buf.Next(n - tailSize)
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
