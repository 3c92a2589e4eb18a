// Package nested builds commands of modules inside this one, which need libraries
// that its go.mod cannot or should not require, and keeps the executables for the
// next test.
package nested

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

// Module is a nested module.
type Module struct {
	Dir     string // below the root of this module, with slashes
	Cache   string // name of its directory in the user's cache
	LDFlags string // of every build; may be empty
}

// Build compiles a package of the module and returns the path of the executable,
// which is called name. The result is kept in the user's cache directory under a hash
// of the module's sources, the Go version and the target, so only the first call
// compiles. Concurrent calls, even of several processes, compile once.
func (m Module) Build(ctx context.Context, name, pkg string) (string, error) {
	src, err := m.source(ctx)
	if err != nil {
		return "", err
	}
	key, err := m.key(ctx, src)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "whisperpush", m.Cache, key)
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
	if out, err := goTool(ctx, src, "build", "-ldflags="+m.LDFlags, "-o", tmp, pkg); err != nil {
		return "", fmt.Errorf("build genuine %s: %w\n%s", name, err, out)
	}
	return exe, os.Rename(tmp, exe)
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// source is the directory of the module, found from this file or, if the build
// trimmed the paths, in the module of the working directory.
func (m Module) source(ctx context.Context) (string, error) {
	if _, self, _, ok := runtime.Caller(0); ok {
		dir := filepath.Join(filepath.Dir(self), "..", "..", filepath.FromSlash(m.Dir))
		if isFile(filepath.Join(dir, "go.mod")) {
			return dir, nil
		}
	}
	out, err := goTool(ctx, "", "list", "-m", "-f", "{{.Dir}}", "whisperpush")
	if err != nil {
		return "", fmt.Errorf("find the sources in %s (run inside the whisperpush checkout): %w\n%s", m.Dir, err, out)
	}
	return filepath.Join(strings.TrimSpace(string(out)), filepath.FromSlash(m.Dir)), nil
}

// key hashes everything that the executables are made from.
func (m Module) key(ctx context.Context, src string) (string, error) {
	h := sha256.New()
	out, err := goTool(ctx, src, "env", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED")
	if err != nil {
		return "", fmt.Errorf("go env: %w\n%s", err, out)
	}
	fmt.Fprintf(h, "%s%s\n", out, m.LDFlags)
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

// goTool runs the go command in dir and returns what it printed. It ignores a
// workspace around the checkout, which would mix the two modules.
func goTool(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	return cmd.CombinedOutput()
}
