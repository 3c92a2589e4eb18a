package wnode

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"whisperpush/config"
)

// secretFile is a file that only the node's user should be able to read.
type secretFile struct {
	what string // for people: "node key", "CredentialsFile of provider fcm"
	path string
}

// secretFiles lists the files with secrets that the node reads: its own keys and those that the settings name.
func secretFiles(cfg config.Config) []secretFile {
	var keys []keyFile
	if cfg.Node.KeyHex == "" {
		keys = append(keys, nodeKeyFile(cfg))
	}
	if cfg.Push.Enabled {
		keys = append(keys, pushKeyFile(cfg), diskKeyFile(cfg))
	}
	var files []secretFile
	for _, key := range keys {
		files = append(files, secretFile{key.what, key.path()})
	}
	return append(files, namedSecrets(cfg)...)
}

// namedSecrets lists the secrets beside the node's own keys: the mailserver's password and the providers' credentials.
func namedSecrets(cfg config.Config) []secretFile {
	var files []secretFile
	if path := cfg.Mailserver.PasswordFile; path != "" && (cfg.Mailserver.Enabled || cfg.Push.Enabled) {
		files = append(files, secretFile{"mailserver's password", path})
	}
	if !cfg.Push.Enabled {
		return files
	}
	for _, p := range cfg.Push.Provider {
		for _, file := range p.Files() {
			if !file.Public() {
				files = append(files, secretFile{file.Key + " of provider " + p.Name, file.Path})
			}
		}
	}
	return files
}

// exposed says that others on this computer can read the file, nil if they cannot or it is not there.
func (f secretFile) exposed() error {
	info, err := os.Stat(f.path)
	switch {
	case err != nil || !info.Mode().IsRegular():
		return nil // whoever reads it says so
	case runtime.GOOS == "windows" || handedOver(f.path):
		return nil // the mode does not tell
	case info.Mode().Perm()&0o077 == 0:
		return nil
	}
	return fmt.Errorf("others on this computer can read %s; do chmod 600 %s", f.path, f.path)
}

// handedOver reports whether systemd put the file there for its service alone (LoadCredential=): it lets the service
// read it by an access list, which looks in the mode as if the group could.
func handedOver(path string) bool {
	for _, dir := range []string{"/run/credentials", os.Getenv("CREDENTIALS_DIRECTORY")} {
		if dir != "" && strings.HasPrefix(filepath.Clean(path), filepath.Clean(dir)+string(filepath.Separator)) {
			return true
		}
	}
	return false
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
