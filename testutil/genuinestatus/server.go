package genuinestatus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"

	"whisperpush/testutil/nested"
)

// startTimeout is how long the command may take before it can be dialled.
const startTimeout = 30 * time.Second

// server is the nested module. The flag lets code of 2019 reach runtime internals that Go has closed
// since.
var server = nested.Module{Dir: "testutil/genuinestatus/server", Cache: "genuinestatus", LDFlags: "-checklinkname=0"}

// Build compiles the command and returns the path of its executable, which is kept as nested.Module.Build says.
func Build(ctx context.Context) (string, error) { return server.Build(ctx, "genuinestatus", ".") }

// Options of Run.
type Options struct {
	Count  int       // envelopes in its archive
	From   time.Time // when the first of them was sent
	Span   time.Duration
	Refuse int // the number of the sync request that is refused, from 1; 0: none
}

// Server is a running command.
type Server struct {
	Enode  string   // URL to dial it
	Hashes []string // of the envelopes in its archive, in hexadecimal
}

// Run starts the command for a test, and ends it with the test.
func Run(t nested.TB, o Options) *Server {
	t.Helper()
	exe, err := Build(t.Context())
	if err != nil {
		t.Fatalf("%v", err)
	}
	cmd := exec.Command(exe, "-count", strconv.Itoa(o.Count), "-from", strconv.FormatInt(o.From.Unix(), 10),
		"-span", strconv.Itoa(int(o.Span/time.Second)), "-refuse", strconv.Itoa(o.Refuse))
	ready := make(chan *Server, 1)
	p, err := nested.Start("genuine status", cmd, nil, func(stdout io.Reader) error {
		lines := json.NewDecoder(stdout)
		s := new(Server)
		if err := lines.Decode(s); err != nil {
			return fmt.Errorf("its first line: %w", err)
		}
		ready <- s
		_, err := io.Copy(io.Discard, stdout)
		return err
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(p.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	s, err := nested.Await(ctx, p, ready)
	if err != nil {
		t.Fatalf("genuine status cannot be dialled: %v", err)
	}
	return s
}
