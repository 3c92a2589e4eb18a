package wnode

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
)

// environmentPrefix begins the names of the variables that stand for flags of the node.
const environmentPrefix = "WNODE_"

// environmentName is the variable for a flag of the node: WNODE_HTTP_PORT for --http.port.
func environmentName(flag string) string {
	return environmentPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(flag))
}

// applyEnvironment applies the variables to the settings. The faults name the variable but no value, which may be a
// secret.
func applyEnvironment(c *cli.Context, cfg *config.Config) (faults []config.Fault) {
	known := []string{environmentName(configFlag)}
	for _, s := range settings() {
		name := environmentName(s.name())
		known = append(known, name)
		value, given := os.LookupEnv(name)
		if !given || s.apply == nil {
			continue
		}
		set := flag.NewFlagSet("", flag.ContinueOnError)
		set.SetOutput(io.Discard)
		err := s.flag.Apply(set)
		if err == nil {
			err = set.Set(s.name(), value)
		}
		if err != nil {
			faults = append(faults, config.Fault{Err: fmt.Errorf("the value of %s in the environment cannot be that of --%s; %s", name, s.name(), wantedValue([]cli.Flag{s.flag}, s.name()))})
			continue
		}
		if err := s.apply(cli.NewContext(c.App, set, nil), cfg); err != nil {
			faults = append(faults, config.Fault{Err: fmt.Errorf("%s in the environment: %w", name, err)})
		}
	}
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, environmentPrefix) && !slices.Contains(known, name) {
			faults = append(faults, config.Fault{Err: fmt.Errorf("%s in the environment is no flag of the node; %s", name, config.Suggest(name, known, "unset it, or see wnode --help"))})
		}
	}
	return faults
}
