package wnode

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"whisperpush/pushext/emulate"
)

func TestMain(m *testing.M) {
	// With the race detector every process sleeps for a second when it ends; a detected race is reported all the same.
	os.Setenv("GORACE", strings.TrimSpace("atexit_sleep_ms=0 "+os.Getenv("GORACE")))
	testscript.Main(m, map[string]func(){
		"wnode": func() { os.Exit(Main(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// The scripts run the program as a process. Beside testscript's commands there are:
//
//	refuses REGEXP ARGS…  run wnode, in this process to save time, so files are named by $WORK: it must return 1,
//	                      print nothing, and say one line on stderr, beside its log, that matches
//	up NAME ARGS…         run wnode in the background, on a free port of the loopback interface without discovery,
//	                      until it is up; $ENODE and $PUSHKEY are what it printed
//	emulate KIND…         run wnode emulate of each in the background, until the script ends; KIND.toml is its table, and
//	                      $KIND its URL
//	answers URL JSON      have the emulator at URL answer its next pushes like that, a list of emulate.Answer
//	until REGEXP CMD…     exec CMD again and again until a line of its output matches: what it asks for is on its way
//	damage DIR            flip a bit in the middle of the manifest in DIR
//	freeport              $FREE is a port of the loopback interface that nobody listens on
//	hash                  $HASH is the hash that the last command printed
//	link                  $LINK is the last link of a message that it printed
//	name                  $NAME is the first name of a registration that it printed
//	occupy                listen on a port of the loopback interface; $BUSY is its number
//	hangup NAME REGEXP    send it SIGHUP, and wait until a line of its log matches
//	down NAME [SIGNAL]    end it with SIGTERM or SIGNAL: it must exit with 0; NAME.out and NAME.err are what it wrote
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts("testdata/script"))
}

// scripts are those in a directory.
func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			env.Values["nodes"] = map[string]*process{}
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"refuses":  refusesCmd,
			"up":       upCmd,
			"emulate":  emulateCmd,
			"answers":  answersCmd,
			"until":    untilCmd,
			"down":     downCmd,
			"hangup":   hangupCmd,
			"occupy":   occupyCmd,
			"damage":   damageCmd,
			"freeport": freeportCmd,
			"hash":     hashCmd,
			"link":     linkCmd,
			"name":     nameCmd,
		},
	}
}

// process is a node in the background.
type process struct {
	cmd  *exec.Cmd
	out  *bytes.Buffer
	err  *tee
	read chan struct{} // closed when out is complete
}

// harmless is what a node may log before it finds that it cannot run.
var harmless = regexp.MustCompile(`^time=\S+ level=(INFO|WARN) `)

func refusesCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: refuses REGEXP ARGS…")
	}
	var stdout, stderr bytes.Buffer
	if code := Main(context.Background(), append([]string{"wnode"}, args[1:]...), nil, &stdout, &stderr); code != 1 {
		ts.Fatalf("wnode %s: exit code is %d, not 1", strings.Join(args[1:], " "), code)
	}
	if stdout.Len() > 0 {
		ts.Fatalf("stdout is not empty: %s", &stdout)
	}
	ts.Logf("%s", &stderr)
	said := ""
	for line := range strings.Lines(stderr.String()) {
		if !harmless.MatchString(line) {
			said += line
		}
	}
	if !strings.HasPrefix(said, "wnode: ") || strings.Count(said, "\n") != 1 || !strings.HasSuffix(said, "\n") {
		ts.Fatalf("stderr is not one line of wnode's: %q", said)
	}
	if !regexp.MustCompile(args[0]).MatchString(strings.TrimSuffix(said, "\n")) {
		ts.Fatalf("stderr does not match %s: %s", args[0], said)
	}
}

func untilCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP CMD…")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(30 * time.Second); ; {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no line matches %s", args[0])
		}
	}
}

func answersCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: answers URL JSON")
	}
	resp, err := http.Post(args[0]+emulate.ControlPath+"script", "application/json", strings.NewReader(args[1]))
	ts.Check(err)
	defer resp.Body.Close()
	if said, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNoContent {
		ts.Fatalf("%s: %s", resp.Status, said)
	}
}

func emulateCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: emulate KIND…")
	}
	for _, kind := range args {
		cmd := exec.Command("wnode", "emulate", kind, "--credentials", ".", "--devices", "0")
		cmd.Dir = ts.MkAbs(".")
		stdout, err := cmd.StdoutPipe()
		ts.Check(err)
		ts.Check(cmd.Start())
		ts.Defer(func() {
			cmd.Process.Kill()
			io.Copy(io.Discard, stdout)
			cmd.Wait()
		})
		var parts []string // of lines, until an empty one
		for lines := bufio.NewReader(stdout); len(parts) < 2; {
			part := ""
			for {
				line, err := lines.ReadString('\n')
				ts.Check(err)
				if line == "\n" {
					break
				}
				part += line
			}
			parts = append(parts, part)
		}
		ts.Setenv(kind, strings.TrimSpace(strings.TrimPrefix(parts[0], "url:")))
		ts.Check(os.WriteFile(ts.MkAbs(kind+".toml"), []byte(parts[1]), 0o600))
		go io.Copy(io.Discard, stdout)
	}
}

func damageCmd(ts *testscript.TestScript, _ bool, args []string) {
	manifests, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "MANIFEST-*"))
	ts.Check(err)
	for _, name := range manifests {
		data, err := os.ReadFile(name)
		ts.Check(err)
		data[len(data)/2] ^= 1
		ts.Check(os.WriteFile(name, data, 0o600))
	}
}

func freeportCmd(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Check(listener.Close())
	ts.Setenv("FREE", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
}

func hashCmd(ts *testscript.TestScript, _ bool, _ []string) {
	found := regexp.MustCompile(`0x[0-9a-f]{64}`).FindString(ts.ReadFile("stdout"))
	if found == "" {
		ts.Fatalf("the last command printed no hash")
	}
	ts.Setenv("HASH", found)
}

func linkCmd(ts *testscript.TestScript, _ bool, _ []string) {
	all := regexp.MustCompile(`whisper:0x\S+`).FindAllString(ts.ReadFile("stdout"), -1)
	if len(all) == 0 {
		ts.Fatalf("the last command printed no link")
	}
	ts.Setenv("LINK", all[len(all)-1])
}

func nameCmd(ts *testscript.TestScript, _ bool, _ []string) {
	found := regexp.MustCompile(`(?m)^[a-z2-7]{26}\b`).FindString(ts.ReadFile("stdout"))
	if found == "" {
		ts.Fatalf("the last command printed no name")
	}
	ts.Setenv("NAME", found)
}

func occupyCmd(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv("BUSY", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
}

func upCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: up NAME ARGS…")
	}
	flags := append([]string{"--addr", "127.0.0.1", "--port", "0", "--nat", "none", "--nodiscover"}, args[1:]...)
	p := &process{cmd: exec.Command("wnode", flags...), out: new(bytes.Buffer), err: newTee(), read: make(chan struct{})}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	p.cmd.Stderr = p.err
	stdout, err := p.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(p.cmd.Start())
	nodes := ts.Value("nodes").(map[string]*process)
	nodes[args[0]] = p
	ts.Defer(func() {
		p.cmd.Process.Kill() // if the script has not stopped it
		<-p.read
		p.cmd.Wait()
	})
	lines := bufio.NewReader(stdout)
	expected := []string{"enode:"}
	if slices.Contains(args, "--push") {
		expected = append(expected, "pushkey:")
	}
	failed := false
	for _, name := range expected {
		line, err := lines.ReadString('\n')
		p.out.WriteString(line)
		words := strings.Fields(line)
		if err != nil || len(words) != 2 || words[0] != name {
			failed = true
			break
		}
		ts.Setenv(strings.ToUpper(strings.TrimSuffix(name, ":")), words[1])
	}
	go func() {
		defer close(p.read)
		io.Copy(p.out, lines)
	}()
	if failed {
		p.cmd.Process.Kill()
		<-p.read
		p.cmd.Wait()
		ts.Fatalf("wnode %s did not start: %s%s", strings.Join(flags, " "), p.out, p.err)
	}
}

// tee keeps what a process logs, and tells whoever waits for a line.
type tee struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced when there is more
}

func newTee() *tee { return &tee{more: make(chan struct{})} }

func (t *tee) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.more)
	t.more = make(chan struct{})
	return t.text.Write(p)
}

func (t *tee) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await waits for text that matches behind the first from bytes.
func (t *tee) await(re *regexp.Regexp, from int, patience <-chan time.Time) bool {
	for {
		t.mu.Lock()
		found, more := re.Match(t.text.Bytes()[from:]), t.more
		t.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-more:
		case <-patience:
			return false
		}
	}
}

func hangupCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hangup NAME REGEXP")
	}
	p := ts.Value("nodes").(map[string]*process)[args[0]]
	if p == nil {
		ts.Fatalf("there is no node %q", args[0])
	}
	from := len(p.err.String())
	ts.Check(p.cmd.Process.Signal(syscall.SIGHUP))
	if !p.err.await(regexp.MustCompile(args[1]), from, time.After(time.Minute)) {
		ts.Fatalf("the log does not have %s: %s", args[1], p.err.String()[from:])
	}
}

func downCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: down NAME [SIGNAL]")
	}
	nodes := ts.Value("nodes").(map[string]*process)
	p := nodes[args[0]]
	if p == nil {
		ts.Fatalf("there is no node %q", args[0])
	}
	signal := syscall.SIGTERM
	if len(args) > 1 && args[1] == "SIGINT" {
		signal = syscall.SIGINT
	}
	ts.Check(p.cmd.Process.Signal(signal))
	watchdog := time.AfterFunc(time.Minute, func() { p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer watchdog.Stop()
	<-p.read
	err := p.cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), p.out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), []byte(p.err.String()), 0o600))
	if err != nil {
		ts.Fatalf("%s ended with %v: %s", args[0], err, p.err)
	}
}
