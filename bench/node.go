package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"whisperpush/whisper"

	"github.com/ethereum/go-ethereum/p2p/enode"
)

// mailPassword is the password for requests to either node.
const mailPassword = "status-offline-inbox"

// node is our node: a wnode process.
type node struct {
	self    *enode.Node
	metrics string // URL
	serving time.Duration

	cmd    *exec.Cmd
	log    *logBuffer
	ended  chan struct{} // closed when the process is gone
	err    error         // valid once ended is closed
	client http.Client
}

// startNode runs wnode on a data directory with more flags. It returns when the node serves,
// which is once it has printed what others need to reach it.
func (s *suite) startNode(ctx context.Context, dir string, flags ...string) (*node, error) {
	args := append([]string{
		"--datadir", dir, "--addr", "127.0.0.1", "--port", "0", "--nat", "none", "--nodiscover", "--ipcdisable",
		"--shh.pow", "0", "--metrics", "--metrics.port", "0", "--verbosity", "3",
	}, flags...)
	n := &node{cmd: exec.Command(s.wnode, args...), log: new(logBuffer), ended: make(chan struct{})}
	n.cmd.Env = append(os.Environ(), s.env...)
	n.cmd.Stderr = n.log
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	announced := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "enode:"); ok {
				n.serving = time.Since(start)
				announced <- strings.TrimSpace(url)
			}
		}
		io.Copy(io.Discard, stdout)
		n.err = n.cmd.Wait()
		close(n.ended)
	}()
	select {
	case url := <-announced:
		if n.self, err = enode.ParseV4(url); err == nil {
			n.metrics, err = n.log.await(ctx, metricsAddr)
		}
	case <-n.ended:
		err = fmt.Errorf("wnode ended: %w\n%s", n.err, n.log)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

// metricsAddr finds the address of the node's metrics in its log.
var metricsAddr = regexp.MustCompile(`metrics (127\.0\.0\.1:\d+)`)

// stop ends the process, by force if it takes more than some seconds.
func (n *node) stop() {
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(20 * time.Second):
		n.cmd.Process.Kill()
		<-n.ended
	}
	n.client.CloseIdleConnections()
}

// kill ends the process as a crash does.
func (n *node) kill() {
	n.cmd.Process.Kill()
	<-n.ended
	n.client.CloseIdleConnections()
}

// metric reads a counter or gauge of the node.
func (n *node) metric(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := n.client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, n.log)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			return strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		}
	}
	return 0, fmt.Errorf("our node has no metric %s", name)
}

// pollEvery is how precisely the moment is known when a metric is reached.
const pollEvery = 10 * time.Millisecond

// pollLeast is the longest interval between two looks, because the pace so far may be
// misleading.
const pollLeast = time.Second

// await returns once a metric is at least value. A look at the metrics costs the node as
// much as some hundred envelopes, so await looks again when half of what is missing may have
// arrived, by the pace so far, but not before pollEvery has passed.
func (n *node) await(ctx context.Context, name string, value float64) error {
	for start := time.Now(); ; {
		v, err := n.metric(ctx, name)
		if err != nil {
			return err
		}
		if v >= value {
			return nil
		}
		pause := pollEvery
		if v > 0 {
			left := time.Duration(float64(time.Since(start)) * (value - v) / v)
			pause = max(pause, min(left/2, pollLeast))
		}
		select {
		case <-time.After(pause):
		case <-n.ended:
			return fmt.Errorf("wnode ended: %w\n%s", n.err, n.log)
		case <-ctx.Done():
			return fmt.Errorf("%s is %.0f, not %.0f: %w\n%s", name, v, value, context.Cause(ctx), n.log)
		}
	}
}

// logBuffer keeps the end of a node's log.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if over := len(b.text) - 1<<14; over > 0 {
		b.text = append(b.text[:0], b.text[over:]...)
	}
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// await waits for a line and returns its first group.
func (b *logBuffer) await(ctx context.Context, line *regexp.Regexp) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("wnode does not say where its metrics are"))
	defer cancel()
	for {
		if m := line.FindStringSubmatch(b.String()); m != nil {
			return m[1], nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return "", fmt.Errorf("%w; its log:\n%s", context.Cause(ctx), b)
		}
	}
}

// explain adds the end of the node's log to an error.
func (n *node) explain(err error) error {
	return fmt.Errorf("our node: %w; the end of its log:\n%s", err, n.log)
}

// bring sends a packet of envelopes over a link to the node.
func (n *node) bring(l *link, packet []byte) error {
	if err := l.send(whisper.MessagesPacket, packet); err != nil {
		return n.explain(err)
	}
	return nil
}
