package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/testutil/pushnode"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) { pushnode.Main(m) }

// run runs a command, and fails with what it printed.
func run(t *testing.T, name string, arguments ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, arguments...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestLibrary builds the library, and runs an app in C and the same one in Python with it
// against a node.
func TestLibrary(t *testing.T) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("there is no C compiler: %v", err)
	}
	dir := t.TempDir()
	library := filepath.Join(dir, "libwhisperpush.so")
	run(t, "go", "build", "-buildmode=c-shared", "-o", library, ".")
	program := filepath.Join(dir, "app")
	run(t, cc, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I.", "-o", program, "testdata/app.c", "-L"+dir, "-lwhisperpush", "-Wl,-rpath,"+dir)

	n := pushnode.Start(t, nil)
	t.Run("C", func(t *testing.T) { live(t, n, program) })
	t.Run("Python", func(t *testing.T) {
		if _, err := exec.LookPath("python3"); err != nil {
			t.Skipf("there is no Python: %v", err)
		}
		live(t, n, "python3", "testdata/app.py", library)
	})
}

// maxExtension is what iOS lets a notification extension have, in bytes.
const maxExtension = 24 << 20

// residentOf is how much memory of its own a process has in RAM: what iOS counts.
func residentOf(t *testing.T, pid int) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &bytes); err == nil {
			return bytes << 10
		}
	}
	require.Fail(t, "the system does not say")
	return 0
}

// live is the life of an app: it registers, is challenged, and shows a message.
func live(t *testing.T, n *pushnode.Node, name string, arguments ...string) {
	token := n.FCM.NewToken()
	settings := fmt.Sprintf(`{"directory":%q,"server":%q,"pushKey":%q,"chats":[{"name":"family","password":"kitchen"}]}`, filepath.Join(t.TempDir(), "app"), n.Door(), n.Key())
	routes := fmt.Sprintf(`{"routes":[{"provider":"fcm","address":%q}]}`, token)
	app := exec.CommandContext(t.Context(), name, append(arguments, settings, routes)...)
	app.Stderr = os.Stderr
	in, err := app.StdinPipe()
	require.NoError(t, err)
	out, err := app.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, app.Start())
	ended := false
	defer func() {
		if !ended {
			app.Process.Kill()
			app.Wait()
		}
	}()
	lines := bufio.NewScanner(out)
	until := func(word string) string {
		t.Helper()
		late := time.AfterFunc(time.Minute, func() { app.Process.Kill() })
		defer late.Stop()
		for lines.Scan() {
			if first, rest, _ := strings.Cut(lines.Text(), " "); first == word {
				return rest
			}
		}
		require.Fail(t, "the app ended", "%v, before it said %q", lines.Err(), word)
		return ""
	}
	push := func() {
		t.Helper()
		data, err := json.Marshal(n.Push(t, token))
		require.NoError(t, err)
		_, err = in.Write(append(data, '\n'))
		require.NoError(t, err)
	}
	until("registered")
	push()
	require.Contains(t, until("received"), `"shown":[]`)
	n.Write(t, client.PasswordChat("family", whisper.TopicFor("family"), "kitchen"), "supper is ready")
	push()
	require.Contains(t, until("show"), `"text":"supper is ready"`)
	require.Contains(t, until("received"), `"ours":true`)
	if name != "python3" && runtime.GOOS == "linux" {
		memory := residentOf(t, app.Process.Pid)
		t.Logf("%.1f MiB of memory of its own, woken and with a message shown", float64(memory)/(1<<20))
		require.Less(t, memory, int64(maxExtension))
	}
	require.NoError(t, in.Close())
	require.Contains(t, until("me"), `"active":true`)
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	ended = true
	require.NoError(t, app.Wait())
}
