package wnode

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

func providersCommand() *cli.Command {
	return &cli.Command{
		Name:  "providers",
		Usage: "ask the running node how its push providers are",
		Description: "It prints a line for each [[Push.Provider]]: whether it works, fails or is paused, how many devices wait for\n" +
			"it, and why the latest attempt failed, if none has succeeded since. The node is asked over its local socket.\n\n" +
			"Example:\n   wnode providers --datadir /var/lib/whisperpush",
		Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			var providers []node.ProviderReport
			if err := askNode(c, &providers, "wnode_providers"); err != nil {
				return err
			}
			if c.Bool("json") {
				return json.NewEncoder(c.App.Writer).Encode(providers)
			}
			return printProviders(c.App.Writer, providers)
		},
	}
}

func printProviders(w io.Writer, providers []node.ProviderReport) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PROVIDER\tSTATE\tWAITING\tLATEST FAILURE")
	for _, p := range providers {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", p.Name, p.State, p.Waiting, p.Cause)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}
