package rival

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"whisperpush/testutil/nested"
)

// module is the server's module path.
const module = "github.com/xmtp/example-notification-server-go"

// Programs are the executables of the server and of the node it listens to.
type Programs struct{ server, node string }

// Build compiles the server of a checkout into dir, and the node. The checkout's dependencies
// come from the Go module proxy, which takes some minutes the first time.
func Build(ctx context.Context, checkout, dir string) (p Programs, err error) {
	text, err := os.ReadFile(filepath.Join(checkout, "go.mod"))
	if err != nil {
		return p, fmt.Errorf("there is no checkout of %s: %w", module, err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if strings.TrimSpace(first) != "module "+module {
		return p, fmt.Errorf("%s is no checkout of %s: its go.mod begins with %q", checkout, module, first)
	}
	if p.node, err = (nested.Module{Dir: "testutil/rival/node", Cache: "rival"}).Build(ctx, "node", "."); err != nil {
		return p, err
	}
	p.server = filepath.Join(dir, "rival")
	build := exec.CommandContext(ctx, "go", "build", "-o", p.server, "./cmd/server")
	build.Dir = checkout
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build %s: %w\n%s", module, err, out)
	}
	return p, nil
}

// Options of a server.
type Options struct {
	Database string // URL with the password, of a role that may create tables in the schema public
	Delivery string // URL to which the server posts what it delivers
	Workers  int    // envelopes worked on at once; 0: the server's own default
}

// Server is a running server and its node. Only one goroutine may call its methods.
type Server struct {
	node, process *nested.Process
	lines         chan string // what the node says
}

// watchdog runs the server and ends it when its standard input ends, which happens when the
// process that started it ends.
const watchdog = `exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
{ read -r _ <&3; kill $pid; } >/dev/null 2>&1 &
exec 3<&-
wait $pid`

// Start starts a server, and returns when it has made its tables and listens. It logs only
// errors, and only listens and delivers: this is how it is fastest.
func (p Programs) Start(ctx context.Context, o Options) (s *Server, err error) {
	s = &Server{lines: make(chan string, 16)}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if s.node, err = nested.Start("the node that the rival listens to", exec.Command(p.node), nil, s.read); err != nil {
		return s, err
	}
	line, err := s.await(ctx, "listening ")
	if err != nil {
		return s, err
	}
	args := []string{"-c", watchdog, "sh", p.server, "--xmtp-listener", "--xmtp-address", line,
		"--http-delivery", "--http-delivery-address", o.Delivery, "--log-level", "error"}
	if o.Workers > 0 {
		args = append(args, "--num-workers", strconv.Itoa(o.Workers))
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Env = append(os.Environ(), "DB_CONNECTION_STRING="+o.Database)
	discard := func(out io.Reader) error { _, err := io.Copy(io.Discard, out); return err }
	if s.process, err = nested.Start("the rival", cmd, nil, discard); err != nil {
		return s, err
	}
	_, err = s.await(ctx, "subscribed")
	return s, err
}

// read passes on what the node says.
func (s *Server) read(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		select {
		case s.lines <- lines.Text():
		default:
			return errors.New("it says more than it is asked")
		}
	}
	return lines.Err()
}

// await returns what comes after prefix in the node's next line.
func (s *Server) await(ctx context.Context, prefix string) (string, error) {
	var gone <-chan struct{}
	if s.process != nil {
		gone = s.process.Ended()
	}
	select {
	case line := <-s.lines:
		rest, ok := strings.CutPrefix(line, prefix)
		if !ok {
			return "", fmt.Errorf("the rival's node says %q, not %q", line, prefix)
		}
		return rest, nil
	case <-s.node.Ended():
		return "", s.node.Err()
	case <-gone:
		return "", s.process.Err()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Prepare makes the node create an envelope for each of the topics, with a message of size
// bytes.
func (s *Server) Prepare(ctx context.Context, topics []string, size int) error {
	batch, err := json.Marshal(map[string]any{"topics": topics, "size": size})
	if err == nil {
		_, err = s.node.Stdin.Write(batch)
	}
	if err != nil {
		return err
	}
	_, err = s.await(ctx, "ready")
	return err
}

// Send makes the node send what it prepared, and returns when all of it is under way: the
// server takes it as fast as it can.
func (s *Server) Send(ctx context.Context) error {
	if _, err := io.WriteString(s.node.Stdin, " true\n"); err != nil {
		return err
	}
	_, err := s.await(ctx, "sent")
	return err
}

// Explain adds to an error why a process is gone, if one is.
func (s *Server) Explain(err error) error { return errors.Join(err, s.process.Err(), s.node.Err()) }

// Stop ends both processes.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.Stop()
	}
	if s.node != nil {
		s.node.Stop()
	}
}
