package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/testutil/quietport"
)

// node is the server under test: a directory and, most of the time, a process.
type node struct {
	dir     string
	log     io.Writer
	metrics int // port

	cmd     *exec.Cmd
	ended   chan error // the end of the process
	self    *enode.Node
	pushKey string

	counted map[string]float64 // metrics of the process's former lives, by line without value
}

// newNode prepares a node. tables are its [[Push.Provider]] tables, and writer is
// its peer.
func newNode(dir, tables string, writer *enode.Node, log io.Writer) (*node, error) {
	settings := fmt.Sprintf("[Node]\nStaticNodes = [%q]\n\n%s", writer.URLv4(), tables)
	if err := os.WriteFile(filepath.Join(dir, "node.toml"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	port, err := quietport.Free()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = io.Discard
	}
	return &node{dir: dir, log: log, metrics: port, counted: make(map[string]float64)}, nil
}

// start starts the process and waits until it serves.
func (n *node) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	n.cmd = exec.Command(self, "--datadir", filepath.Join(n.dir, "data"), "--config", filepath.Join(n.dir, "node.toml"),
		"--push", "--addr", "127.0.0.1", "--port", "0", "--nat", "none", "--nodiscover", "--ipcdisable", "--maxpeers", "600", "--shh.pow", fmt.Sprint(work),
		"--metrics", "--metrics.port", strconv.Itoa(n.metrics), "--verbosity", "3")
	n.cmd.Env = append(os.Environ(), childVar+"=1")
	n.cmd.Stderr = n.log
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(stdout)
	said := make(map[string]string)
	for range 2 {
		line, err := lines.ReadString('\n')
		if err != nil {
			n.cmd.Process.Kill()
			return fmt.Errorf("the server did not start: %w", n.cmd.Wait())
		}
		name, value, _ := strings.Cut(line, ":")
		said[name] = strings.TrimSpace(value)
	}
	cmd, ended := n.cmd, make(chan error, 1)
	n.ended = ended
	go func() {
		io.Copy(io.Discard, lines)
		ended <- cmd.Wait()
	}()
	n.pushKey = said["pushkey"]
	n.self, err = enode.ParseV4(said["enode"])
	return err
}

// addr is where the process listens, host:port.
func (n *node) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.self.TCP())) }

// stop ends the process, cleanly or by force, and waits for it.
func (n *node) stop(kill bool) error {
	if n.ended == nil {
		return nil
	}
	n.scrape()
	ended := n.ended
	n.ended = nil
	if kill {
		n.cmd.Process.Kill()
		<-ended
		return nil
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("the server did not end well: %w", err)
		}
		return nil
	case <-patience.C:
		n.cmd.Process.Signal(syscall.SIGQUIT) // for the stacks in its log
		<-ended
		return fmt.Errorf("the server does not stop")
	}
}

// scrape adds the counters of this life of the process to those of its former
// lives.
func (n *node) scrape() {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", n.metrics))
	if err != nil {
		return // it is busy; the ledger does not depend on it
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if !strings.HasPrefix(line, "whisperpush_") || space < 0 {
			continue
		}
		if value, err := strconv.ParseFloat(line[space+1:], 64); err == nil {
			n.counted[line[:space]] += value
		}
	}
}

// sum adds the counters whose name is name and whose labels contain all of labels.
func (n *node) sum(name string, labels ...string) (total float64) {
	for line, value := range n.counted {
		if metric, rest, _ := strings.Cut(line, "{"); metric == name && containsAll(rest, labels) {
			total += value
		}
	}
	return total
}

func containsAll(s string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}
