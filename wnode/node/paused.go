package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"whisperpush/config"
	"whisperpush/durable"
)

// pausedProviders are the providers that the operator has paused. A file in the data directory has their names, one per
// line, so that a restart does not resume what somebody paused for a reason.
type pausedProviders struct {
	path string

	mu    sync.Mutex // guards the following, and the file
	names []string
}

// openPaused reads the file, and pauses the providers in it at the push server.
func openPaused(cfg config.Config, push operatedPush, logger *slog.Logger) (*pausedProviders, error) {
	p := &pausedProviders{path: filepath.Join(cfg.Node.DataDir, "push.paused")}
	text, err := os.ReadFile(p.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("which providers are paused: %w", err)
	}
	for name := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == '\n' }) {
		if err := push.HoldProvider(name); err != nil {
			logger.Warn("a provider was paused and is not configured any more", "provider", name)
			continue
		}
		p.names = append(p.names, name)
		logger.Warn("a provider is paused: nothing is sent through it", "provider", name, "remedy", "wnode providers resume "+name)
	}
	return p, nil
}

// holdAgain pauses those providers again that the operator has paused: one may have been removed meanwhile and put back.
func (p *pausedProviders) holdAgain(push operatedPush, all []instance) {
	p.mu.Lock()
	names := slices.Clone(p.names)
	p.mu.Unlock()
	for _, i := range all {
		if slices.Contains(names, i.Name()) {
			push.HoldProvider(i.Name()) // it exists
		}
	}
}

// note records whether a provider is paused from the next start on.
func (p *pausedProviders) note(name string, paused bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.names, name) == paused {
		return nil
	}
	names := slices.DeleteFunc(slices.Clone(p.names), func(n string) bool { return n == name })
	if paused {
		names = append(names, name)
	}
	text := ""
	for _, n := range names {
		text += n + "\n"
	}
	if err := durable.ReplaceFile(p.path, []byte(text)); err != nil {
		return fmt.Errorf("it is done, and a restart will undo it: %w", err)
	}
	p.names = names
	return nil
}
