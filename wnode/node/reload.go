package node

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"whisperpush/config"
	"whisperpush/mailserver"
	"whisperpush/whisper"
)

// section is a part of the settings that can be reloaded in a running node.
type section struct {
	// keys are its settings: each a key, or a table followed by a dot.
	keys []string
	// prepare checks the new settings and changes nothing. It is called at each reload, even if no key changed: the
	// files that the settings name may have changed.
	prepare func(before, next config.Config) (replacement, error)
}

// replacement is a prepared section.
type replacement struct {
	apply func() // cannot fail; nil: nothing to do
	drop  func() // called instead of apply if another section cannot be prepared; may be nil
	also  string // what changes besides the settings, such as "credentials of the provider fcm"; may be empty
}

// covers reports whether a key belongs to the section.
func (s section) covers(key string) bool {
	return slices.ContainsFunc(s.keys, func(own string) bool {
		return key == own || strings.HasSuffix(own, ".") && strings.HasPrefix(key, own)
	})
}

// onReload adds a section to those of Reload.
func (n *Node) onReload(s section) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	n.sections = append(n.sections, s)
}

// settings returns the settings that the node runs with now.
func (n *Node) settings() config.Config { return *n.cfg.Load() }

// errNothingReloaded begins the error of a reload that changed nothing.
var errNothingReloaded = errors.New("nothing is reloaded")

// Reload adopts other settings, which config.Config.Validate has passed, and reads the files that they name again: all
// of it or nothing. An error is one sentence that says why and what to do. No link, registration or wake-up is lost. It
// returns what changed. A setting that is in no section needs a restart and is named in the error.
func (n *Node) Reload(next config.Config) (changed []string, err error) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	before := n.settings()
	changed = config.Changed(before, next)
	var fixed []string
	for _, key := range changed {
		if !slices.ContainsFunc(n.sections, func(s section) bool { return s.covers(key) }) {
			fixed = append(fixed, key)
		}
	}
	if len(fixed) > 0 {
		return nil, fmt.Errorf("%w: %s takes effect with a restart alone; restart the node, or put the former value back", errNothingReloaded, strings.Join(fixed, ", "))
	}
	if err := n.sameSecrets(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNothingReloaded, err)
	}
	var all []replacement
	for _, s := range n.sections {
		r, err := s.prepare(before, next)
		if err != nil {
			for _, prepared := range all {
				if prepared.drop != nil {
					prepared.drop()
				}
			}
			return nil, fmt.Errorf("%w: %w", errNothingReloaded, err)
		}
		all = append(all, r)
	}
	for _, r := range all {
		if r.apply != nil {
			r.apply()
		}
		if r.also != "" {
			changed = append(changed, r.also)
		}
	}
	n.cfg.Store(&next)
	return changed, nil
}

// fileSum is the checksum of a file.
type fileSum struct {
	file SecretFile
	sum  [sha256.Size]byte
}

// noteSecrets records the files that are read once.
func (n *Node) noteSecrets(cfg config.Config) {
	var keys []SecretFile
	if cfg.Node.KeyHex == "" {
		keys = append(keys, SecretFile{"node key", NodeKeyFile(cfg).Path()})
	}
	if cfg.Push.Enabled {
		keys = append(keys, SecretFile{"push key", PushKeyFile(cfg).Path()}, SecretFile{"disk key", DiskKeyFile(cfg).Path()})
	}
	if path := cfg.Mailserver.PasswordFile; path != "" && n.archive != nil {
		keys = append(keys, SecretFile{"mailserver's password", path})
	}
	n.reloading.Lock()
	defer n.reloading.Unlock()
	for _, file := range keys {
		if text, err := os.ReadFile(file.Path); err == nil {
			n.secrets = append(n.secrets, fileSum{file, sha256.Sum256(text)})
		}
	}
}

// sameSecrets refuses a key that was replaced: everything sealed with or addressed to the former one would be lost,
// which is not for a reload to decide.
func (n *Node) sameSecrets() error {
	for _, secret := range n.secrets {
		text, err := os.ReadFile(secret.file.Path)
		if err == nil && sha256.Sum256(text) == secret.sum {
			continue
		}
		if err == nil {
			err = errors.New("it is another than the node runs with, and takes effect with a restart alone")
		}
		return fmt.Errorf("the %s in %s: %w; put the former one back, or restart the node", secret.file.What, secret.file.Path, cause(err))
	}
	return nil
}

// whisperSection has the limits on what peers send.
func (n *Node) whisperSection() section {
	return section{
		keys: []string{"Shh.MinimumAcceptedPOW", "Shh.MaxMessageSize"},
		prepare: func(before, next config.Config) (replacement, error) {
			return replacement{apply: func() { // both were checked with the settings; a value set by shh_set… stays, unless the file changed
				if next.Shh.MinimumAcceptedPOW != before.Shh.MinimumAcceptedPOW {
					n.whisper.SetMinPoW(next.Shh.MinimumAcceptedPOW)
				}
				if next.Shh.MaxMessageSize != before.Shh.MaxMessageSize {
					n.whisper.SetMaxMessageSize(cmp.Or(next.Shh.MaxMessageSize, whisper.DefaultMaxMessageSize))
				}
			}}, nil
		},
	}
}

// mailLimits are the limits in the settings on mail requests; the others have their defaults.
func mailLimits(cfg config.Config) mailserver.Limits {
	return mailserver.Limits{PeerRequests: cfg.Mailserver.RequestsPerMinute, ClassicBytes: cfg.Mailserver.MaxAnswerBytes}
}

// mailSection has the limits on mail requests.
func mailSection(mail *mailserver.Server) section {
	return section{
		keys: []string{"Mailserver.RequestsPerMinute", "Mailserver.MaxAnswerBytes"},
		prepare: func(_, next config.Config) (replacement, error) {
			limits := mailLimits(next)
			return replacement{apply: func() { mail.Reset(limits) }}, mail.CanReset(limits)
		},
	}
}

// boundsSection has the limits on what an archive keeps. An archive that several nodes share has no such section: each
// of the nodes would have to be told.
func boundsSection(archive interface {
	SetBounds(retention time.Duration, maxBytes int64)
}) section {
	return section{
		keys: []string{"Mailserver.Retention", "Mailserver.MaxBytes"},
		prepare: func(_, next config.Config) (replacement, error) {
			return replacement{apply: func() { archive.SetBounds(retention(next), next.Mailserver.MaxBytes) }}, nil
		},
	}
}
