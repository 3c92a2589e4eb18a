package wnode

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the version and the commit it was built of",
		Description: "The first line is what peers and web3_clientVersion are told, the second the commit of the source.",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return printVersion(c)
		},
	}
}

func printVersion(c *cli.Context) error {
	_, err := fmt.Fprintf(c.App.Writer, "%s\ncommit %s\n", node.ClientName(), node.Commit())
	return err
}
