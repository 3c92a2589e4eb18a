package whisperpush_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// documented are the commands of README, docs and deploy, in the order in which
// a reader types them. A line that is not here fails the test, as does one that
// the documents do not have any more.
var documented = []struct {
	line string
	how  func(t *testing.T, r *reader, line string)
}{
	{"make demo", notHere("the continuous integration runs it on a fresh clone")},
	{"make test", notHere("this is it")},
	{"go build -o bin/wnode ./cmd/wnode      # or: go install whisperpush/cmd/wnode", run},
	{"bin/wnode --datadir /var/lib/whisperpush --push --config node.toml", serve},
	{"wnode device register --server enode://… --pushkey 0x04… --chat 'family=our secret' --webhook 127.0.0.1:9000", run},
	{"wnode device listen --count 1 &", listen},
	{"wnode send --server enode://… --topic family --password 'our secret' --payload 'Dinner at 7'", send},
	{"wnode simulate --devices 100000 --seed 7", notHere("it takes half a minute; wnode simulate has a script in wnode")},
	{"go build -trimpath -o bin/wnode ./cmd/wnode", run},
	{"bin/wnode quickstart --config node.toml --datadir data --extip 203.0.113.7 --contact mailto:operator@example.org", run},
	{"install -m 0755 bin/wnode /usr/local/bin/wnode", run},
	{"install -d -m 0755 /etc/whisperpush", run},
	{"install -m 0644 deploy/node.toml /etc/whisperpush/node.toml", run},
	{"install -m 0644 deploy/systemd/whisperpush.service /etc/systemd/system/whisperpush.service", run},
	{"wnode check-config --config /etc/whisperpush/node.toml", run},
	{"wnode check-config --config /etc/whisperpush/node.toml && systemctl reload whisperpush", notHere("it needs a running systemd; wnode reload has a script in wnode")},
	{"systemctl daemon-reload", notHere("it needs a running systemd")},
	{"systemctl enable --now whisperpush", notHere("it needs a running systemd")},
	{"journalctl -u whisperpush -o cat | grep -E '^(enode|pushkey|vapidkey)'", notHere("it needs a running systemd")},
	{"install -m 0600 service-account.json /etc/whisperpush/service-account.json", run},
	{"wnode health --ready --config /etc/whisperpush/node.toml", notHere("no node of these settings runs; its script is in wnode")},
	{"systemctl edit whisperpush        # and write the next two lines into the editor", notHere("it needs a running systemd")},
	{"cp /var/lib/private/whisperpush/{nodekey,pushkey,push.disk.key} /root/whisperpush-keys/", run},
	{"install -m 0755 bin/wnode /usr/local/bin/wnode && systemctl restart whisperpush", notHere("it needs a running systemd; its first half is above")},
	{"podman build -t whisperpush -f deploy/Containerfile .", notHere("it downloads base images")},
	{"podman run -d --name whisperpush -p 30303:30303 -p 30303:30303/udp \\", notHere("it needs the image")},
	{"podman logs whisperpush | grep -E '^(enode|pushkey|vapidkey)'", notHere("it needs the image")},
	{"go test -count=1 -run Attack ./...", notHere("make test runs these tests")},
	{"go build -buildmode=c-shared -o libwhisperpush.so ./cmd/libwhisperpush", run},
}

// command is what begins a line that a reader types.
var command = regexp.MustCompile(`^(?:\$ )?((?:wnode|bin/wnode|\./\S+|make|go|install|systemctl|cp|mkdir|chmod|git|curl|apt-get|journalctl|podman|docker|ansible-playbook) .*)$`)

// commandsOf are the commands in the code blocks of a page.
func commandsOf(t *testing.T, page string) (lines []string) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	shell, console, inside := false, false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if language, fence := strings.CutPrefix(line, "```"); fence {
			inside = !inside
			shell, console = inside && slices.Contains([]string{"", "sh", "bash", "console"}, language), false
			continue
		}
		prompt := strings.HasPrefix(line, "$ ")
		console = console || prompt // then what has no prompt was printed
		if m := command.FindStringSubmatch(line); shell && m != nil && console == prompt {
			lines = append(lines, m[1])
		}
	}
	return lines
}

// Every command of the documents is typed as it stands on a fresh clone. What
// differs is only what a reader replaces: the places of the system, ports, the
// enode and the key that their own server printed.
func TestDocumentedCommands(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	var written, known []string
	for _, page := range append([]string{"README.md", "deploy/README.md"}, pages...) {
		written = append(written, commandsOf(t, page)...)
	}
	for _, d := range documented {
		known = append(known, d.line)
	}
	require.ElementsMatch(t, known, written, "the documents and the list of this test differ")

	if _, err := os.Stat(".git"); err != nil {
		t.Skip("this is not a clone, so none can be made of it: ", err)
	}
	r := newReader(t)
	for _, d := range documented {
		d.how(t, r, d.line)
	}
	for name, mode := range map[string]os.FileMode{
		"/usr/local/bin/wnode": 0o755, "/etc/whisperpush/node.toml": 0o644, "/etc/systemd/system/whisperpush.service": 0o644,
		"/etc/whisperpush/service-account.json": 0o600, "/root/whisperpush-keys/pushkey": 0o600,
	} {
		info, err := os.Stat(filepath.Join(r.root, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
}

// reader types what is documented, in a clone, and on a file system of their own.
type reader struct {
	clone, root    string
	enode, pushKey string
	heard          *bufio.Scanner // of wnode device listen
}

func newReader(t *testing.T) *reader {
	r := &reader{clone: filepath.Join(t.TempDir(), "whisperpush"), root: t.TempDir()}
	out, err := exec.Command("git", "clone", "--quiet", ".", r.clone).CombinedOutput()
	require.NoError(t, err, string(out))
	for _, dir := range []string{"usr/local/bin", "etc/systemd/system", "var/lib/private/whisperpush", "root/whisperpush-keys"} {
		require.NoError(t, os.MkdirAll(filepath.Join(r.root, dir), 0o755))
	}
	// What the reader has from elsewhere: a service account, a config file, and later keys.
	require.NoError(t, os.WriteFile(filepath.Join(r.clone, "service-account.json"), []byte("{}"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(r.clone, "node.toml"), []byte(`
[Node]
ListenAddr = "127.0.0.1:0"
NAT = "none"
NoDiscovery = true

[[Push.Provider]]
Type = "webhook"
AllowHTTP = true
AllowPrivate = true
`), 0o600))
	for _, key := range []string{"nodekey", "pushkey", "push.disk.key"} {
		require.NoError(t, os.WriteFile(filepath.Join(r.root, "var/lib/private/whisperpush", key), nil, 0o600))
	}
	return r
}

// shell is a line as the reader types it.
func (r *reader) shell(ctx context.Context, line string) *exec.Cmd {
	line = regexp.MustCompile(`(^| |=)/(usr|etc|var|root)/`).ReplaceAllString(line, "${1}"+r.root+"/$2/")
	line = strings.NewReplacer("enode://…", r.enode, "0x04…", r.pushKey, "127.0.0.1:9000", "127.0.0.1:0").Replace(line)
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = r.clone
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(r.clone, "bin")+":"+os.Getenv("PATH"), "HOME="+r.root+"/root")
	for _, keep := range []string{"GOPATH", "GOMODCACHE", "GOCACHE"} {
		if value, err := exec.Command("go", "env", keep).Output(); err == nil {
			cmd.Env = append(cmd.Env, keep+"="+strings.TrimSpace(string(value)))
		}
	}
	return cmd
}

func run(t *testing.T, r *reader, line string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := r.shell(ctx, line).CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, out)
}

// notHere is for lines that are tried elsewhere or cannot be.
func notHere(why string) func(*testing.T, *reader, string) {
	return func(t *testing.T, _ *reader, line string) { t.Logf("not typed: %s: %s", line, why) }
}

// start runs a line in the background until the test ends.
func (r *reader) start(t *testing.T, line string) (cmd *exec.Cmd, out io.Reader) {
	cmd = r.shell(context.Background(), "exec "+line)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = new(bytes.Buffer)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		io.Copy(io.Discard, out)
		require.NoError(t, cmd.Wait(), "%s\n%s", line, cmd.Stderr)
	})
	return cmd, out
}

// serve starts the node, and takes down the two lines that it prints.
func serve(t *testing.T, r *reader, line string) {
	_, out := r.start(t, line)
	lines := bufio.NewScanner(out)
	for _, value := range []*string{&r.enode, &r.pushKey} {
		require.True(t, lines.Scan(), "the node printed nothing")
		_, text, _ := strings.Cut(lines.Text(), ":")
		*value = strings.TrimSpace(text)
	}
}

// listen starts the device that waits for its message.
func listen(t *testing.T, r *reader, line string) {
	_, out := r.start(t, strings.TrimSuffix(line, " &"))
	r.heard = bufio.NewScanner(out)
}

// send sends what the device is to show.
func send(t *testing.T, r *reader, line string) {
	run(t, r, line)
	for r.heard.Scan() {
		if strings.Contains(r.heard.Text(), "Dinner at 7") {
			return
		}
	}
	require.Fail(t, "the device ended without the message")
}
