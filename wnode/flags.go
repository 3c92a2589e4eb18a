package wnode

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/wnode/rpc"
)

// setting is a flag that sets one field of the settings. Its name and meaning are geth's if geth has the flag. A field
// without a flag is set in the file.
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

// categories are the headings in the help, by the table of the flags.
var categories = map[string]string{
	"Node": nodeFlags, "Shh": whisperFlags, "Mailserver": mailFlags, "Push": mailFlags, "RPC": rpcFlags, "Door": doorFlags,
	"Metrics": watchFlags, "Status": watchFlags, "Log": watchFlags,
}

// settings returns the flags of the node, made again for each command that takes them. Their names and help texts are in
// the comments of the settings: see config.Flag.
func settings() []setting {
	all := []setting{{flag: &cli.BoolFlag{Name: "shh", Hidden: true, Usage: "Whisper is always on; accepted because geth has it"}}}
	described, err := config.Flags()
	if err != nil {
		panic(err) // an error in the source, which a test reads
	}
	for _, f := range described {
		all = append(all, newSetting(f))
	}
	return all
}

// newSetting is the flag of a field, by the field's type.
func newSetting(f config.Flag) setting {
	table, _, _ := strings.Cut(f.Key, ".")
	category := categories[table]
	defaults := config.Defaults()
	defaults.Node.DataDir = "" // it depends on the user; readSettings sets it
	value := defaults.Field(f.Key)
	text := func(value string, set func(v string, c *config.Config) error) setting {
		return setting{
			flag:  &cli.StringFlag{Name: f.Name, Category: category, Usage: f.Usage, Value: value, DefaultText: value},
			apply: func(c *cli.Context, cfg *config.Config) error { return set(c.String(f.Name), cfg) },
		}
	}
	number := func(value int, set func(v int, c *config.Config) error) setting {
		return setting{
			flag:  &cli.IntFlag{Name: f.Name, Category: category, Usage: f.Usage, Value: value},
			apply: func(c *cli.Context, cfg *config.Config) error { return set(c.Int(f.Name), cfg) },
		}
	}
	switch f.Name { // flags that are more than a field
	case "addr":
		return text("", func(v string, c *config.Config) error { return setHost(&c.Node.ListenAddr, v) })
	case "port":
		return number(rpc.PortOf(defaults.Node.ListenAddr), func(v int, c *config.Config) error { return setPort(&c.Node.ListenAddr, v) })
	case "nodekeyhex":
		return text("", func(v string, c *config.Config) error {
			c.Node.KeyHex = strings.TrimPrefix(strings.TrimPrefix(v, "0x"), "0X")
			return nil
		})
	}
	switch value := value.Interface().(type) {
	case bool:
		return setting{
			flag: &cli.BoolFlag{Name: f.Name, Category: category, Usage: f.Usage, DisableDefaultText: true},
			apply: func(c *cli.Context, cfg *config.Config) error {
				cfg.Field(f.Key).SetBool(c.Bool(f.Name))
				return nil
			},
		}
	case int:
		return number(value, func(v int, c *config.Config) error { c.Field(f.Key).SetInt(int64(v)); return nil })
	case uint32:
		return number(int(value), func(v int, c *config.Config) error {
			if v < 0 || v > 1<<31 {
				return fmt.Errorf("--%s is %d; give 0 to 10485760 bytes", f.Name, v)
			}
			c.Field(f.Key).SetUint(uint64(v))
			return nil
		})
	case float64:
		return setting{
			flag: &cli.Float64Flag{Name: f.Name, Category: category, Usage: f.Usage, Value: value},
			apply: func(c *cli.Context, cfg *config.Config) error {
				cfg.Field(f.Key).SetFloat(c.Float64(f.Name))
				return nil
			},
		}
	case []string:
		s := text(strings.Join(value, ","), func(v string, c *config.Config) error {
			c.Field(f.Key).Set(reflect.ValueOf(splitList(v)))
			return nil
		})
		s.flag.(*cli.StringFlag).Usage += "; several with commas between them"
		return s
	case config.Duration:
		return text(value.String(), func(v string, c *config.Config) error {
			d, err := config.ParseDuration(v)
			if err != nil {
				return fmt.Errorf("--%s: %w", f.Name, err)
			}
			c.Field(f.Key).Set(reflect.ValueOf(d))
			return nil
		})
	case string:
		return text(value, func(v string, c *config.Config) error { c.Field(f.Key).SetString(v); return nil })
	}
	panic("a flag of a setting of another type: " + f.Key)
}

// splitList reads a comma-separated list; it ignores spaces around parts, and empty parts.
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

// Set is called each time the flag is given.
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

// readSettings builds the settings from defaults, then the file, then the environment, then the flags; flags before a
// command's name come before those after it. It goes on after a fault. The file is nil if there is none.
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

// noArguments refuses arguments for a command that takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("%s takes no arguments, and got %q", c.Command.HelpName, c.Args().First())
	}
	return nil
}
