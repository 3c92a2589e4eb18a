package genuinenode

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// ldflags lets code of 2020 reach runtime internals that Go closed since.
const ldflags = "-checklinkname=0"

// Build compiles the node and returns the path of its executable. The result is
// kept in the user's cache directory under a hash of the nested module's sources,
// the Go version and the target, so that only the first call compiles: under a
// minute if nothing is in Go's build cache. Concurrent calls, also of several
// processes, compile once.
func Build(ctx context.Context) (string, error) {
	return build(ctx, "genuinenode", "./cmd/genuinenode")
}

// BuildWnode does the same for cmd/wnode as v1.9.20 shipped it.
func BuildWnode(ctx context.Context) (string, error) {
	return build(ctx, "wnode", "github.com/ethereum/go-ethereum/cmd/wnode")
}

// BuildSHHClient does the same for a command that makes every call of the genuine client of shh's JSON-RPC: to the
// node whose URL is its argument, or without one to a genuine node in its own process.
func BuildSHHClient(ctx context.Context) (string, error) {
	return build(ctx, "shhclient", "./cmd/shhclient")
}

func build(ctx context.Context, name, pkg string) (string, error) {
	src, err := moduleDir(ctx)
	if err != nil {
		return "", err
	}
	key, err := cacheKey(ctx, src)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "whisperpush", "genuine", key)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	exe := filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		exe += ".exe"
	}
	if isFile(exe) {
		return exe, nil
	}

	unlock, err := lockedfile.MutexAt(filepath.Join(dir, name+".lock")).Lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if isFile(exe) {
		return exe, nil
	}
	tmp := exe + ".tmp"
	if out, err := goTool(ctx, src, "build", "-ldflags="+ldflags, "-o", tmp, pkg); err != nil {
		return "", fmt.Errorf("build genuine %s: %w\n%s", name, err, out)
	}
	return exe, os.Rename(tmp, exe)
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// moduleDir is the directory of the nested module, found beside this file, or,
// if the build trimmed the paths, in the module of the working directory.
func moduleDir(ctx context.Context) (string, error) {
	if _, self, _, ok := runtime.Caller(0); ok {
		dir := filepath.Join(filepath.Dir(self), "..", "genuine")
		if isFile(filepath.Join(dir, "go.mod")) {
			return dir, nil
		}
	}
	out, err := goTool(ctx, "", "list", "-m", "-f", "{{.Dir}}", "whisperpush")
	if err != nil {
		return "", fmt.Errorf("find the sources of the genuine node (run inside the whisperpush checkout): %w\n%s", err, out)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "testutil", "genuine"), nil
}

// cacheKey hashes everything that the executable is made from.
func cacheKey(ctx context.Context, src string) (string, error) {
	h := sha256.New()
	out, err := goTool(ctx, src, "env", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED")
	if err != nil {
		return "", fmt.Errorf("go env: %w\n%s", err, out)
	}
	fmt.Fprintf(h, "%s%s\n", out, ldflags)
	err = filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".mod" && ext != ".sum" {
			return nil
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", rel, len(b))
		h.Write(b)
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), err
}

// goTool runs the go command in dir and returns what it printed. A workspace
// around the checkout does not take part: it would mix the two modules.
func goTool(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	return cmd.CombinedOutput()
}
