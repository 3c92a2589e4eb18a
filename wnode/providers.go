package wnode

import (
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

func providersCommand() *cli.Command {
	return &cli.Command{
		Name:      "providers",
		Usage:     "ask the running node how its push providers are, and pause or resume one",
		UsageText: "wnode providers [flags]\nwnode providers pause|resume|drain [flags] NAME",
		Description: "It prints a line for each [[Push.Provider]]: whether it works, fails, is paused, or is held by the operator, how\n" +
			"many devices wait for it, and why the latest attempt failed, if none has succeeded since. The node is asked over\n" +
			"its local socket.\n\n" +
			"Example:\n   wnode providers --datadir /var/lib/whisperpush",
		Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if word := c.Args().First(); word != "" {
				return unknownCommand(word, c.Command.Subcommands)
			}
			var providers []node.ProviderReport
			if err := askNode(c, &providers, "wnode_providers"); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, providers)
			}
			return printProviders(c.App.Writer, providers)
		},
		Subcommands: []*cli.Command{
			onProvider("pause", "wnode_pauseProvider", "send nothing through a provider until it is resumed, also after a restart; what waits for it stays"),
			onProvider("resume", "wnode_resumeProvider", "send again through a provider that was paused or drained"),
			onProvider("drain", "wnode_drainProvider", "pause a provider, and wait until no attempt through it is under way"),
		},
	}
}

// onProvider is a command that acts on one provider.
func onProvider(name, method, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "NAME", Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			named, err := oneArgument(c, "NAME")
			if err != nil {
				return err
			}
			var done bool
			if err := askNode(c, &done, method, named); err != nil {
				return err
			}
			var providers []node.ProviderReport
			if err := askNode(c, &providers, "wnode_providers"); err != nil {
				return err
			}
			for _, p := range providers {
				if p.Name != named {
					continue
				}
				if c.Bool("json") {
					return printJSON(c.App.Writer, p)
				}
				_, err := fmt.Fprintf(c.App.Writer, "%s: %s, %s\n", p.Name, p.State, plural(p.Waiting, "device")+" waiting")
				return err
			}
			return fmt.Errorf("the provider %q was taken out of the settings meanwhile", named)
		},
	}
}

func printProviders(w io.Writer, providers []node.ProviderReport) error {
	rows := [][]string{{"PROVIDER", "STATE", "WAITING", "LATEST FAILURE"}}
	for _, p := range providers {
		rows = append(rows, []string{p.Name, p.State, strconv.Itoa(p.Waiting), p.Cause})
	}
	return printTable(w, rows...)
}
