package wnode

import (
	"io"
	"log/slog"

	ethlog "github.com/ethereum/go-ethereum/log"

	"whisperpush/config"
)

// levels are the log levels of --verbosity 1 to 5; 0 logs nothing. geth's numbers and names.
var levels = [...]slog.Level{1: ethlog.LevelError, 2: ethlog.LevelWarn, 3: ethlog.LevelInfo, 4: ethlog.LevelDebug, 5: ethlog.LevelTrace}

// newLogger logs to w as settings say. Whatever passes through it is redacted: see redact.
func newLogger(w io.Writer, settings config.Log) *slog.Logger {
	if settings.Verbosity == 0 {
		return slog.New(slog.DiscardHandler)
	}
	options := &slog.HandlerOptions{Level: levels[settings.Verbosity], ReplaceAttr: logAttr}
	if settings.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// logAttr names the levels that slog has no name for, and redacts the rest.
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

// ethLogger is logger for go-ethereum's p2p.
func ethLogger(logger *slog.Logger) ethlog.Logger { return ethlog.NewLogger(logger.Handler()) }
