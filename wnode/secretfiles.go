package wnode

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"whisperpush/config"
)

// secretFile is a file that only the node's user should be able to read.
type secretFile struct {
	what string // for people: "node key", "CredentialsFile of provider fcm"
	path string
}

// secretFiles lists the files with secrets that the settings name, and those in the data directory.
func secretFiles(cfg config.Config) []secretFile {
	or := func(named, ours string) string {
		if named != "" {
			return named
		}
		return filepath.Join(cfg.Node.DataDir, ours)
	}
	var files []secretFile
	add := func(on bool, what, path string) {
		if on && path != "" {
			files = append(files, secretFile{what, path})
		}
	}
	push := cfg.Push.Enabled
	add(cfg.Node.KeyHex == "", "node key", or(cfg.Node.KeyFile, "nodekey"))
	add(cfg.Mailserver.Enabled || push, "mailserver's password", cfg.Mailserver.PasswordFile)
	add(push, "push key", or(cfg.Push.KeyFile, "pushkey"))
	add(push, "disk key", or(cfg.Push.DiskKeyFile, "push.disk.key"))
	for _, p := range cfg.Push.Provider {
		var options []string
		for option := range p.Options {
			if strings.HasSuffix(option, "File") && option != "CAFile" { // certificates are public
				options = append(options, option)
			}
		}
		slices.Sort(options)
		for _, option := range options {
			path, _ := p.Options[option].(string)
			add(push, option+" of provider "+p.Name, path)
		}
	}
	return files
}

// exposed says that others on this computer can read the file, nil if they cannot or it is not there.
func (f secretFile) exposed() error {
	info, err := os.Stat(f.path)
	if err != nil || info.Mode().Perm()&0o077 == 0 || !info.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("others on this computer can read %s; do chmod 600 %s", f.path, f.path)
}

// warnOfSettings logs what is odd about the settings, and which secrets others can read.
func warnOfSettings(cfg config.Config, logger *slog.Logger) {
	for _, warning := range cfg.Warnings() {
		logger.Warn(warning)
	}
	for _, file := range secretFiles(cfg) {
		if err := file.exposed(); err != nil {
			logger.Warn("a secret is not secret", "file", file.what, "err", err)
		}
	}
}
