package node

import (
	"context"
	"io"
	"log/slog"

	ethlog "github.com/ethereum/go-ethereum/log"

	"whisperpush/config"
)

// levels are the log levels of --verbosity 1 to 5, with geth's numbers and names; 0 logs nothing.
var levels = [...]slog.Level{1: ethlog.LevelError, 2: ethlog.LevelWarn, 3: ethlog.LevelInfo, 4: ethlog.LevelDebug, 5: ethlog.LevelTrace}

// silent is above every level.
const silent = slog.Level(1 << 20)

// level returns the level of --verbosity 0 to 5.
func level(verbosity int) slog.Level {
	if verbosity == 0 {
		return silent
	}
	return levels[verbosity]
}

// NewLogger logs to w according to settings. Everything logged is redacted: see Redact.
func NewLogger(w io.Writer, settings config.Log) *slog.Logger {
	return newLogger(w, settings.Format, level(settings.Verbosity))
}

func newLogger(w io.Writer, format string, least slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: logAttr}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// logSection is the section of the log's verbosity.
func logSection(least *slog.LevelVar) section {
	return section{
		keys: []string{"Log.Verbosity"},
		prepare: func(_, next config.Config) (replacement, error) {
			return replacement{apply: func() { least.Set(level(next.Log.Verbosity)) }}, nil
		},
	}
}

// logAttr names the levels that slog has no names for, and redacts everything else.
func logAttr(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch a.Key {
		case slog.TimeKey:
			return a
		case slog.LevelKey:
			if level, ok := a.Value.Any().(slog.Level); ok {
				return slog.String(a.Key, levelName(level))
			}
		}
	}
	return redactAttr(a)
}

func levelName(level slog.Level) string {
	switch level {
	case ethlog.LevelTrace:
		return "TRACE"
	case ethlog.LevelCrit:
		return "CRIT"
	}
	return level.String()
}

// LogFailure logs in JSON, at any verbosity, why the node ends. It does not redact: a plain sentence on the same
// standard error would not be redacted either, and the error is about the operator's own settings and files.
func LogFailure(w io.Writer, err error) {
	slog.New(slog.NewJSONHandler(w, nil)).Error("the node does not run", "err", err.Error())
}

// ethLogger is logger for go-ethereum's p2p, without its announcement of the node's own URL: we print our own, and
// redaction would leave nothing of p2p's.
func ethLogger(logger *slog.Logger) ethlog.Logger {
	return ethlog.NewLogger(withoutSelf{logger.Handler()})
}

// withoutSelf drops the first record of p2p.
type withoutSelf struct{ slog.Handler }

// Handle implements slog.Handler.
func (h withoutSelf) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "Started P2P networking" {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h withoutSelf) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withoutSelf{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h withoutSelf) WithGroup(name string) slog.Handler {
	return withoutSelf{h.Handler.WithGroup(name)}
}
