package wnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/pushext/credentials"
	"whisperpush/wnode/door"
	"whisperpush/wnode/node"
	"whisperpush/wnode/rpc"
)

// checkconfigName is the name of a command that takes the node's flags too.
const checkconfigName = "check-config"

func checkconfigCommand() *cli.Command {
	return &cli.Command{
		Name:  checkconfigName,
		Usage: "check the settings and the files that they name, and say everything that is wrong",
		Description: "It reads the --config file, the flags of the node, and every file that they name: keys, passwords, credentials of\n" +
			"push services. It writes nothing and asks nobody, so it can be used while a node runs; wnode doctor also tries\n" +
			"ports, disk, clock and push services.\n\n" +
			"It prints a line for each fault, with the file and the line where the setting is, and a note for each setting\n" +
			"that is allowed and probably not meant. The exit code is 0 if there is no fault and 1 otherwise.\n\n" +
			"Example:\n   wnode check-config --config /etc/whisperpush/node.toml",
		Flags: append(settingFlags(), &cli.BoolFlag{Name: "json", Usage: "print one JSON object", DisableDefaultText: true}),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			cfg, faults := everyFault(c, true)
			var notes []string
			if len(faults) == 0 {
				notes = cfg.Warnings()
			}
			print := printFaults
			if c.Bool("json") {
				print = printFaultsJSON
			}
			if err := print(c.App.Writer, cfg, faults, notes); err != nil {
				return err
			}
			if len(faults) > 0 {
				return fmt.Errorf("the settings have %s", plural(len(faults), "fault"))
			}
			return nil
		},
	}
}

// everyFault reads the settings, and returns everything that is wrong with them, in the order of the file. It includes
// secrets that others can read, about which a node only warns when it starts, only if exposed is set.
func everyFault(c *cli.Context, exposed bool) (config.Config, []config.Fault) {
	cfg, file, faults := readSettings(c)
	unread := faults
	for _, fault := range examineSettings(cfg, exposed) {
		// More cannot be said about a value that could not be read.
		if fault.Key == "" || !slices.ContainsFunc(unread, func(f config.Fault) bool { return f.Key == fault.Key }) {
			faults = append(faults, fault)
		}
	}
	file.Place(faults, &cfg)
	return cfg, faults
}

// severalFaults are the faults of settings that a node cannot start with, if there is more than one.
type severalFaults []config.Fault

// Error implements error, with a line for each fault.
func (s severalFaults) Error() string {
	text := "the settings have " + plural(len(s), "fault")
	for _, fault := range s {
		text += "\n" + fault.Error()
	}
	return text
}

// examineSettings returns everything wrong with settings that were read, and with the files that they name. The faults
// have no place in the file yet.
func examineSettings(cfg config.Config, exposed bool) []config.Fault {
	faults := cfg.Faults()
	wrong := func(key string, err error) {
		if err != nil {
			faults = append(faults, config.Fault{Key: key, Err: err})
		}
	}
	secret := func(key string, file node.SecretFile) {
		if exposed {
			wrong(key, file.Exposed())
		}
	}
	noDir := node.CheckDataDir(cfg.Node.DataDir)
	wrong("Node.DataDir", noDir)
	if cfg.Mailserver.Enabled || cfg.Push.Enabled {
		_, err := node.MailPassword(cfg)
		wrong("Mailserver.PasswordFile", err)
		secret("Mailserver.PasswordFile", node.SecretFile{Path: cfg.Mailserver.PasswordFile})
	}
	if node.WithStore(cfg) {
		_, err := node.StorePassword(cfg)
		wrong("Node.StorePasswordFile", err)
		secret("Node.StorePasswordFile", node.SecretFile{Path: cfg.Node.StorePasswordFile})
	}
	_, err := node.StatusToken(cfg)
	wrong("Status.TokenFile", err)
	if cfg.Status.Enabled && cfg.Status.TokenFile != "" {
		secret("Status.TokenFile", node.SecretFile{Path: cfg.Status.TokenFile})
	}
	if cfg.Door.Enabled && cfg.Door.CertFile != "" && cfg.Door.KeyFile != "" {
		wrong("Door.CertFile", door.CheckCertificate(cfg.Door.CertFile, cfg.Door.KeyFile))
		secret("Door.KeyFile", node.SecretFile{Path: cfg.Door.KeyFile})
	}
	key := func(key string, file node.KeyFile) {
		if noDir == nil {
			wrong(key, examineKey(file, exposed))
		}
	}
	if cfg.Node.KeyHex == "" {
		key("Node.KeyFile", node.NodeKeyFile(cfg))
	}
	key("RPC.DeviceKeyFile", node.LocalKeyFile(cfg))
	if cfg.Push.Enabled {
		key("Push.KeyFile", node.PushKeyFile(cfg))
		key("Push.DiskKeyFile", node.DiskKeyFile(cfg))
		for i, p := range cfg.Push.Provider {
			for _, fault := range examineProviderSettings(p, exposed) {
				wrong(strings.TrimSuffix(config.ProviderTable(i)+fault.Key, "."), fault.Err)
			}
		}
	}
	return faults
}

// examineKey returns what is wrong with an existing key, or with its absence.
func examineKey(k node.KeyFile, exposed bool) error {
	if err := k.Missing(); err != nil {
		return err
	}
	if _, err := k.Read(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it is made at the first start
		}
		return err
	}
	if !exposed {
		return nil
	}
	return node.SecretFile{What: k.What, Path: k.Path()}.Exposed()
}

// examineProviderSettings opens a provider, which reads its credentials. The keys of the faults are those within its
// table.
func examineProviderSettings(p config.Provider, exposed bool) (faults []config.Fault) {
	if p.Type == "" {
		return nil // the check of the settings reports that
	}
	p.Options = maps.Clone(p.Options)
	err := tryProvider(p)
	var several config.OptionFaults
	if errors.As(err, &several) {
		faults = several
		for _, fault := range several {
			delete(p.Options, fault.Key)
		}
		err = tryProvider(p) // there may be more to say about the others
	}
	if err != nil && !errors.As(err, &several) {
		faults = append(faults, config.Fault{Key: optionNamed(p, err), Err: err})
	}
	for _, file := range p.Files() {
		_, err := credentials.File(file.Key, file.Path, "one that is there")
		if err != nil && !slices.ContainsFunc(faults, func(f config.Fault) bool { return f.Key == file.Key }) {
			faults = append(faults, config.Fault{Key: file.Key, Err: fmt.Errorf("push provider %s: %w", p.Name, err)})
		}
		if err := (node.SecretFile{Path: file.Path}).Exposed(); exposed && err != nil && !file.Public() {
			faults = append(faults, config.Fault{Key: file.Key, Err: err})
		}
	}
	return faults
}

// tryProvider opens a provider and closes it.
func tryProvider(p config.Provider) error {
	opened, err := node.OpenProviders([]config.Provider{p})
	node.CloseProviders(opened)
	return err
}

// word matches what may be a key in a sentence.
var word = regexp.MustCompile(`\w+`)

// optionNamed is the first of a provider's own keys that the sentence of err names; every sentence about a key names it.
func optionNamed(p config.Provider, err error) string {
	for _, name := range word.FindAllString(err.Error(), -1) {
		for key := range p.Options {
			if strings.EqualFold(key, name) {
				return key
			}
		}
	}
	if slices.Contains(word.FindAllString(err.Error(), -1), "type") {
		return "Type"
	}
	return ""
}

func printFaults(w io.Writer, cfg config.Config, faults []config.Fault, notes []string) error {
	var text strings.Builder
	for _, fault := range faults {
		fmt.Fprintln(&text, fault)
	}
	for _, note := range notes {
		fmt.Fprintln(&text, "note:", note)
	}
	if len(faults) == 0 {
		fmt.Fprintln(&text, "ok:", summary(cfg))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// faultJSON is a fault as printed by --json.
type faultJSON struct {
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Key   string `json:"key,omitempty"`
	Fault string `json:"fault"`
}

func printFaultsJSON(w io.Writer, cfg config.Config, faults []config.Fault, notes []string) error {
	report := struct {
		OK      bool        `json:"ok"`
		Summary string      `json:"summary,omitempty"`
		Faults  []faultJSON `json:"faults"`
		Notes   []string    `json:"notes"`
	}{OK: len(faults) == 0, Faults: []faultJSON{}, Notes: append([]string{}, notes...)}
	if report.OK {
		report.Summary = summary(cfg)
	}
	for _, f := range faults {
		report.Faults = append(report.Faults, faultJSON{f.Path, f.Line, f.Key, f.Err.Error()})
	}
	return json.NewEncoder(w).Encode(report)
}

// summary says in one line what a node with these settings does.
func summary(cfg config.Config) string {
	parts := []string{"relay on " + cfg.Node.ListenAddr}
	if cfg.Mailserver.Enabled || cfg.Push.Enabled {
		kept := "for ever"
		if cfg.Mailserver.Retention > 0 {
			kept = "for " + cfg.Mailserver.Retention.String()
		}
		parts = append(parts, "mailserver that keeps mail "+kept)
	}
	if cfg.Push.Enabled {
		var names []string
		for _, p := range cfg.Push.Provider {
			names = append(names, p.Name)
		}
		if len(names) == 0 {
			names = []string{"no provider"}
		}
		parts = append(parts, "push through "+strings.Join(names, ", "))
	}
	for _, l := range []struct {
		on   bool
		what string
		addr string
		port int
	}{
		{cfg.RPC.HTTP.Enabled, rpc.WhatHTTP, cfg.RPC.HTTP.Addr, cfg.RPC.HTTP.Port},
		{cfg.RPC.WS.Enabled, rpc.WhatWS, cfg.RPC.WS.Addr, cfg.RPC.WS.Port},
		{cfg.Door.Enabled, rpc.WhatDoor, cfg.Door.Addr, cfg.Door.Port},
		{cfg.Metrics.Enabled, rpc.WhatMetrics, cfg.Metrics.Addr, cfg.Metrics.Port},
		{cfg.Status.Enabled, rpc.WhatStatus, cfg.Status.Addr, cfg.Status.Port},
	} {
		if l.on {
			parts = append(parts, l.what+" on "+rpc.HostPort(l.addr, l.port))
		}
	}
	return strings.Join(parts, "; ") + "; data in " + cfg.Node.DataDir
}

// plural is a number of things, with an s after the name unless it is one.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
