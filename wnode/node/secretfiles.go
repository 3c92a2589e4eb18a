package node

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"whisperpush/config"
)

// SecretFile is a file that only the node's user should be able to read.
type SecretFile struct {
	What string // for people: "node key", "CredentialsFile of provider fcm"
	Path string
}

// secretFiles lists the files with secrets that the node reads: its own keys, and those that the settings name.
func secretFiles(cfg config.Config) []SecretFile {
	var keys []KeyFile
	if cfg.Node.KeyHex == "" {
		keys = append(keys, NodeKeyFile(cfg))
	}
	if cfg.Push.Enabled {
		keys = append(keys, PushKeyFile(cfg), DiskKeyFile(cfg))
	}
	if local := LocalKeyFile(cfg); local.there() { // made with the first device
		keys = append(keys, local)
	}
	var files []SecretFile
	for _, key := range keys {
		files = append(files, SecretFile{key.What, key.Path()})
	}
	if cfg.Push.Enabled {
		files = append(files, SecretFile{"former push keys", FormerPushKeysPath(cfg)})
	}
	return append(files, NamedSecrets(cfg)...)
}

// NamedSecrets lists the secrets besides the node's own keys: the mailserver's password, those of the database and the
// status page, and the providers' credentials.
func NamedSecrets(cfg config.Config) []SecretFile {
	var files []SecretFile
	if path := cfg.Mailserver.PasswordFile; path != "" && (cfg.Mailserver.Enabled || cfg.Push.Enabled) {
		files = append(files, SecretFile{"mailserver's password", path})
	}
	if path := cfg.Node.StorePasswordFile; path != "" && WithStore(cfg) {
		files = append(files, SecretFile{"database's password", path})
	}
	if path := cfg.Status.TokenFile; path != "" && cfg.Status.Enabled {
		files = append(files, SecretFile{"status page's password", path})
	}
	if !cfg.Push.Enabled {
		return files
	}
	for _, p := range cfg.Push.Provider {
		for _, file := range p.Files() {
			if !file.Public() {
				files = append(files, SecretFile{file.Key + " of provider " + p.Name, file.Path})
			}
		}
	}
	return files
}

// Exposed says that other users of this computer can read the file, nil if they cannot or it is missing.
func (f SecretFile) Exposed() error {
	info, err := os.Stat(f.Path)
	switch {
	case err != nil || !info.Mode().IsRegular():
		return nil // reading the file reports it
	case runtime.GOOS == "windows" || handedOver(f.Path):
		return nil // the mode says nothing
	case info.Mode().Perm()&0o077 == 0:
		return nil
	}
	return fmt.Errorf("others on this computer can read %s; do chmod 600 %s", f.Path, f.Path)
}

// handedOver reports whether systemd put the file there for its service alone (LoadCredential=). It lets the service
// read it through an access list, which makes the mode look as if the group could.
func handedOver(path string) bool {
	for _, dir := range []string{"/run/credentials", os.Getenv("CREDENTIALS_DIRECTORY")} {
		if dir != "" && strings.HasPrefix(filepath.Clean(path), filepath.Clean(dir)+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// warnOfSettings logs what is unusual about the settings, and which secrets others can read.
func warnOfSettings(cfg config.Config, logger *slog.Logger) {
	for _, warning := range cfg.Warnings() {
		logger.Warn(warning)
	}
	for _, file := range secretFiles(cfg) {
		if err := file.Exposed(); err != nil {
			logger.Warn("a secret is not secret", "file", file.What, "err", err)
		}
	}
}
