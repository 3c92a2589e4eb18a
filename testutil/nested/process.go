package nested

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// stopGrace is how long Stop waits for a process to end on its own.
const stopGrace = 5 * time.Second

// TB is the part of testing.TB that starting a process for a test takes.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	Context() context.Context
}

// Process is a command of a nested module. It ends when its standard input does.
type Process struct {
	// Stdin is the process's standard input.
	Stdin io.WriteCloser

	name   string
	cmd    *exec.Cmd
	stderr *Tail
	stop   sync.Once
	ended  chan struct{} // closed when the process is gone and everything was read
	err    error         // why, valid once ended is closed
}

// Start starts a command, which errors call name. read takes its standard output
// until that ends. An error of read is a fault of the process, which is then killed.
// log takes its log; nil: only the end is kept, for errors.
func Start(name string, cmd *exec.Cmd, log io.Writer, read func(stdout io.Reader) error) (*Process, error) {
	p := &Process{name: name, cmd: cmd, stderr: &Tail{To: log}, ended: make(chan struct{})}
	cmd.Stderr = p.stderr
	var err error
	if p.Stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.reap(stdout, read)
	return p, nil
}

// reap reads until the process ends, and records why it did.
func (p *Process) reap(stdout io.Reader, read func(io.Reader) error) {
	bad := read(stdout)
	if bad != nil {
		p.cmd.Process.Kill()
	}
	io.Copy(io.Discard, stdout)
	err := p.cmd.Wait()
	switch {
	case bad != nil:
		err = bad
	case err == nil:
		err = errors.New("stopped")
	}
	p.err = fmt.Errorf("%s ended: %w%s", p.name, err, p.stderr)
	close(p.ended)
}

// Stop ends the process, by force if it takes more than 5 s, and waits until it is
// gone. It may be called more than once.
func (p *Process) Stop() {
	p.stop.Do(func() {
		p.Stdin.Close()
		select {
		case <-p.ended:
		case <-time.After(stopGrace):
			p.cmd.Process.Kill()
		}
	})
	<-p.ended
}

// Kill ends the process at once, as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.Stop()
}

// Pid is the process's id, for reading its resource use.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed when the process is gone, stopped or crashed.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err returns why the process is gone, with the end of its log; nil before.
func (p *Process) Err() error {
	select {
	case <-p.ended:
		return p.err
	default:
		return nil
	}
}

// Await returns the first value from ready, or why there will be none: the process
// ended, or ctx did, in which case the process is stopped.
func Await[T any](ctx context.Context, p *Process, ready <-chan T) (first T, err error) {
	select {
	case first = <-ready:
		return first, nil
	case <-p.ended:
		return first, p.err
	case <-ctx.Done():
		p.Stop()
		return first, context.Cause(ctx)
	}
}
