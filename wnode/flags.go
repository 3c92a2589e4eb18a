package wnode

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
)

// setting is a flag that lays its value over one field of the settings. Names and meaning are geth's where geth
// has the flag; what has no flag is set in the file.
type setting struct {
	flag  cli.Flag
	apply func(c *cli.Context, cfg *config.Config) error
}

// Categories of flags in the help.
const (
	nodeFlags    = "NODE"
	whisperFlags = "WHISPER"
	mailFlags    = "MAIL SERVER AND PUSH"
	rpcFlags     = "JSON-RPC"
	doorFlags    = "HTTPS FOR DEVICES"
	watchFlags   = "LOG AND METRICS"
)

const configFlag = "config"

// settings returns the flags of the node, made again for each command that takes them.
func settings() []setting {
	d := config.Defaults()
	return []setting{
		text("datadir", nodeFlags, "`DIRECTORY` of keys, archive, registrations and socket (default: ~/.whisperpush)", "",
			func(c *config.Config) *string { return &c.Node.DataDir }),
		text("store", nodeFlags, "PostgreSQL database for archive and registrations in place of the data directory, a `URL` such as postgres://wnode@db.example.org/mail?sslmode=verify-full", "",
			func(c *config.Config) *string { return &c.Node.Store }),
		text("store.password", nodeFlags, "`FILE` with the password for --store (default: PGPASSWORD, or the file that PGPASSFILE names)", "",
			func(c *config.Config) *string { return &c.Node.StorePasswordFile }),
		text("cluster.addr", nodeFlags, "`HOST:PORT` of this computer at which nodes with push that share --store reach each other", d.Node.ClusterAddr,
			func(c *config.Config) *string { return &c.Node.ClusterAddr }),
		text("addr", nodeFlags, "`INTERFACE` to listen on for peers (default: all)", "", nil).
			applied(func(v string, c *config.Config) error { return setHost(&c.Node.ListenAddr, v) }),
		number("port", nodeFlags, "`PORT` for peers, TCP and UDP; 0 is any free one", 30303, nil).
			appliedInt(func(v int, c *config.Config) error { return setPort(&c.Node.ListenAddr, v) }),
		number("maxpeers", nodeFlags, "most peers at one time, a `NUMBER`; a third is for those the node dials, and of the others an idle one gives way to a newcomer", d.Node.MaxPeers,
			func(c *config.Config) *int { return &c.Node.MaxPeers }),
		list("bootnodes", nodeFlags, "comma-separated `ENODES` that help to find peers", d.Node.BootstrapNodes,
			func(c *config.Config) *[]string { return &c.Node.BootstrapNodes }),
		text("nodekey", nodeFlags, "`FILE` with the node's private key in hex (default: nodekey in the data directory)", "",
			func(c *config.Config) *string { return &c.Node.KeyFile }),
		text("nodekeyhex", nodeFlags, "the node's private key in `HEX`, for tests: others on this computer can see it", "",
			nil).applied(func(v string, c *config.Config) error {
			c.Node.KeyHex = strings.TrimPrefix(strings.TrimPrefix(v, "0x"), "0X")
			return nil
		}),
		text("nat", nodeFlags, "how peers reach the node through a router: `none|any|upnp|pmp|pmp:<IP>|stun|extip:<IP>`", d.Node.NAT,
			func(c *config.Config) *string { return &c.Node.NAT }),
		toggle("nodiscover", nodeFlags, "do not search for peers", func(c *config.Config) *bool { return &c.Node.NoDiscovery }),
		text("netrestrict", nodeFlags, "talk only to these networks, comma-separated `CIDR` masks", "",
			func(c *config.Config) *string { return &c.Node.NetRestrict }),

		{flag: &cli.BoolFlag{Name: "shh", Hidden: true, Usage: "Whisper is always on; accepted because geth has it"}},
		fraction("shh.pow", whisperFlags, "least proof of work of an envelope, a `NUMBER`; 0 is any", d.Shh.MinimumAcceptedPOW,
			func(c *config.Config) *float64 { return &c.Shh.MinimumAcceptedPOW }),
		number("shh.maxmessagesize", whisperFlags, "largest envelope in `BYTES`", int(d.Shh.MaxMessageSize), nil).
			appliedInt(func(v int, c *config.Config) error {
				if v < 0 || v > 1<<31 {
					return fmt.Errorf("--shh.maxmessagesize is %d; give 0 to 10485760 bytes", v)
				}
				c.Shh.MaxMessageSize = uint32(v)
				return nil
			}),
		toggle("shh.restrict-light", whisperFlags, "refuse links between two light nodes",
			func(c *config.Config) *bool { return &c.Shh.RestrictConnectionBetweenLightClients }),

		toggle("mailserver", mailFlags, "archive envelopes and answer mail requests", func(c *config.Config) *bool { return &c.Mailserver.Enabled }),
		text("mailserver.password", mailFlags, "`FILE` with the password for mail requests (default: the password status-offline-inbox)", "",
			func(c *config.Config) *string { return &c.Mailserver.PasswordFile }),
		text("mailserver.retention", mailFlags, "how long mail is kept, a `DURATION` such as 30d or 36h; 0 is for ever", d.Mailserver.Retention.String(), nil).
			applied(func(v string, c *config.Config) (err error) {
				c.Mailserver.Retention, err = config.ParseDuration(v)
				if err != nil {
					return fmt.Errorf("--mailserver.retention: %w", err)
				}
				return nil
			}),
		toggle("push", mailFlags, "wake registered devices; turns on --mailserver; providers are in the --config file",
			func(c *config.Config) *bool { return &c.Push.Enabled }),

		toggle("ipcdisable", rpcFlags, "do not open the local JSON-RPC socket", func(c *config.Config) *bool { return &c.RPC.IPCDisable }),
		text("ipcpath", rpcFlags, "`PATH` of the local JSON-RPC socket; a bare name is in the data directory", d.RPC.IPCPath,
			func(c *config.Config) *string { return &c.RPC.IPCPath }),
		toggle("http", rpcFlags, "serve JSON-RPC over HTTP", func(c *config.Config) *bool { return &c.RPC.HTTP.Enabled }),
		text("http.addr", rpcFlags, "`INTERFACE` to listen on", d.RPC.HTTP.Addr, func(c *config.Config) *string { return &c.RPC.HTTP.Addr }),
		number("http.port", rpcFlags, "`PORT` to listen on", d.RPC.HTTP.Port, func(c *config.Config) *int { return &c.RPC.HTTP.Port }),
		list("http.api", rpcFlags, "comma-separated `NAMES` of what is served: shh, net, web3, admin", d.RPC.HTTP.API,
			func(c *config.Config) *[]string { return &c.RPC.HTTP.API }),
		list("http.corsdomain", rpcFlags, "comma-separated `ORIGINS` that may call from a browser", d.RPC.HTTP.CORSDomain,
			func(c *config.Config) *[]string { return &c.RPC.HTTP.CORSDomain }),
		list("http.vhosts", rpcFlags, "comma-separated host `NAMES` it may be called by; * is every one", d.RPC.HTTP.VHosts,
			func(c *config.Config) *[]string { return &c.RPC.HTTP.VHosts }),
		toggle("ws", rpcFlags, "serve JSON-RPC over WebSocket", func(c *config.Config) *bool { return &c.RPC.WS.Enabled }),
		text("ws.addr", rpcFlags, "`INTERFACE` to listen on", d.RPC.WS.Addr, func(c *config.Config) *string { return &c.RPC.WS.Addr }),
		number("ws.port", rpcFlags, "`PORT` to listen on", d.RPC.WS.Port, func(c *config.Config) *int { return &c.RPC.WS.Port }),
		list("ws.api", rpcFlags, "comma-separated `NAMES` of what is served: shh, net, web3, admin", d.RPC.WS.API,
			func(c *config.Config) *[]string { return &c.RPC.WS.API }),
		list("ws.origins", rpcFlags, "comma-separated `ORIGINS` that may connect from a browser", d.RPC.WS.Origins,
			func(c *config.Config) *[]string { return &c.RPC.WS.Origins }),

		toggle("door", doorFlags, "serve devices over HTTPS too", func(c *config.Config) *bool { return &c.Door.Enabled }),
		text("door.addr", doorFlags, "`INTERFACE` to listen on; beyond this computer it needs a certificate", d.Door.Addr, func(c *config.Config) *string { return &c.Door.Addr }),
		number("door.port", doorFlags, "`PORT` to listen on", d.Door.Port, func(c *config.Config) *int { return &c.Door.Port }),
		text("door.cert", doorFlags, "PEM `FILE` of the certificate, read again when it changes", "", func(c *config.Config) *string { return &c.Door.CertFile }),
		text("door.key", doorFlags, "PEM `FILE` of the certificate's key", "", func(c *config.Config) *string { return &c.Door.KeyFile }),
		toggle("door.app", doorFlags, "serve a small messenger for browsers there", func(c *config.Config) *bool { return &c.Door.App }),

		toggle("metrics", watchFlags, "serve Prometheus metrics, /healthz and /readyz", func(c *config.Config) *bool { return &c.Metrics.Enabled }),
		text("metrics.addr", watchFlags, "`INTERFACE` to listen on", d.Metrics.Addr, func(c *config.Config) *string { return &c.Metrics.Addr }),
		number("metrics.port", watchFlags, "`PORT` to listen on", d.Metrics.Port, func(c *config.Config) *int { return &c.Metrics.Port }),
		toggle("status", watchFlags, "serve a status page for people", func(c *config.Config) *bool { return &c.Status.Enabled }),
		text("status.addr", watchFlags, "`INTERFACE` to listen on; beyond this computer it needs --status.token", d.Status.Addr, func(c *config.Config) *string { return &c.Status.Addr }),
		number("status.port", watchFlags, "`PORT` to listen on", d.Status.Port, func(c *config.Config) *int { return &c.Status.Port }),
		text("status.token", watchFlags, "`FILE` with the password that the page asks for", "", func(c *config.Config) *string { return &c.Status.TokenFile }),
		number("verbosity", watchFlags, "`LEVEL` of the log: 0 nothing, 1 errors, 2 warnings, 3 info, 4 debug, 5 all", d.Log.Verbosity,
			func(c *config.Config) *int { return &c.Log.Verbosity }),
		text("log.format", watchFlags, "`text|json`", d.Log.Format, func(c *config.Config) *string { return &c.Log.Format }),
	}
}

func text(name, category, usage, value string, field func(*config.Config) *string) setting {
	s := setting{flag: &cli.StringFlag{Name: name, Category: category, Usage: usage, Value: value, DefaultText: value}}
	return s.applied(func(v string, cfg *config.Config) error { *field(cfg) = v; return nil })
}

func number(name, category, usage string, value int, field func(*config.Config) *int) setting {
	s := setting{flag: &cli.IntFlag{Name: name, Category: category, Usage: usage, Value: value}}
	return s.appliedInt(func(v int, cfg *config.Config) error { *field(cfg) = v; return nil })
}

func fraction(name, category, usage string, value float64, field func(*config.Config) *float64) setting {
	return setting{
		flag: &cli.Float64Flag{Name: name, Category: category, Usage: usage, Value: value},
		apply: func(c *cli.Context, cfg *config.Config) error {
			*field(cfg) = c.Float64(name)
			return nil
		},
	}
}

func toggle(name, category, usage string, field func(*config.Config) *bool) setting {
	return setting{
		flag: &cli.BoolFlag{Name: name, Category: category, Usage: usage, DisableDefaultText: true},
		apply: func(c *cli.Context, cfg *config.Config) error {
			*field(cfg) = c.Bool(name)
			return nil
		},
	}
}

func list(name, category, usage string, value []string, field func(*config.Config) *[]string) setting {
	return text(name, category, usage, strings.Join(value, ","), nil).applied(func(v string, cfg *config.Config) error {
		*field(cfg) = splitList(v)
		return nil
	})
}

// splitList reads a comma-separated list; spaces around and empty parts do not count.
func splitList(s string) []string {
	parts := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func (s setting) name() string { return s.flag.Names()[0] }

func (s setting) applied(set func(v string, cfg *config.Config) error) setting {
	s.apply = func(c *cli.Context, cfg *config.Config) error { return set(c.String(s.name()), cfg) }
	return s
}

func (s setting) appliedInt(set func(v int, cfg *config.Config) error) setting {
	s.apply = func(c *cli.Context, cfg *config.Config) error { return set(c.Int(s.name()), cfg) }
	return s
}

func setHost(addr *string, host string) error {
	name, err := config.Host(host, "port")
	if err != nil {
		return fmt.Errorf("--addr is %q, %w", host, err)
	}
	_, port, err := net.SplitHostPort(*addr)
	if err != nil {
		return fmt.Errorf("Node.ListenAddr is %q; give host:port, such as \":30303\"", *addr)
	}
	*addr = net.JoinHostPort(name, port)
	return nil
}

func setPort(addr *string, port int) error {
	host, _, err := net.SplitHostPort(*addr)
	if err != nil {
		return fmt.Errorf("Node.ListenAddr is %q; give host:port, such as \":30303\"", *addr)
	}
	*addr = net.JoinHostPort(host, strconv.Itoa(port))
	return nil
}

func settingFlags() []cli.Flag {
	flags := []cli.Flag{&cli.GenericFlag{Name: configFlag, Category: nodeFlags, Usage: "TOML `FILE` with settings; wnode dumpconfig prints one", Value: new(onceFlag)}}
	for _, s := range settings() {
		flags = append(flags, s.flag)
	}
	return flags
}

var errTwoConfigs = errors.New("--config is given twice; put all settings into one file")

// onceFlag is the value of a flag that may be given once. It implements cli.Generic.
type onceFlag struct{ value string }

func (f *onceFlag) String() string { return f.value }

// Set is called for each time the flag is given.
func (f *onceFlag) Set(value string) error {
	if f.value != "" {
		return errTwoConfigs
	}
	f.value = value
	return nil
}

// settingsOf builds and checks the settings.
func settingsOf(c *cli.Context) (config.Config, error) {
	cfg, _, faults := readSettings(c)
	if len(faults) > 0 {
		return cfg, faults[0]
	}
	return cfg, cfg.Validate()
}

// readSettings builds the settings: defaults, then the file, then the environment, then the flags, those before a command's name first and
// those after it last. It goes on after a fault. The file is nil if there is none.
func readSettings(c *cli.Context) (cfg config.Config, file *config.File, faults []config.Fault) {
	cfg = config.Defaults()
	lineage := c.Lineage()
	slices.Reverse(lineage)
	path := ""
	for _, level := range lineage {
		if !slices.Contains(level.LocalFlagNames(), configFlag) {
			continue
		}
		if path != "" {
			return cfg, nil, []config.Fault{{Err: errTwoConfigs}}
		}
		path = level.Generic(configFlag).(*onceFlag).value
	}
	if path == "" {
		path = os.Getenv(environmentName(configFlag))
	}
	if path != "" {
		file, faults = config.Read(path, &cfg)
	}
	faults = append(faults, applyEnvironment(c, &cfg)...)
	for _, level := range lineage {
		given := level.LocalFlagNames()
		for _, s := range settings() {
			if s.apply == nil || !slices.Contains(given, s.name()) {
				continue
			}
			if err := s.apply(level, &cfg); err != nil {
				faults = append(faults, config.Fault{Err: err})
			}
		}
	}
	if cfg.Node.DataDir == "" {
		cfg.Node.DataDir = config.DefaultDataDir()
	}
	return cfg, file, faults
}

// noArguments refuses words behind the flags of a command that takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("%s takes no arguments, and got %q", c.Command.HelpName, c.Args().First())
	}
	return nil
}
