package wnode

import (
	"github.com/urfave/cli/v2"

	"whisperpush/config"
)

// dumpconfigName is the name of a command that takes the node's flags too.
const dumpconfigName = "dumpconfig"

func dumpconfigCommand() *cli.Command {
	return &cli.Command{
		Name:  dumpconfigName,
		Usage: "print the settings as a TOML file with comments",
		Description: "The file holds every setting: its default, or what --config and the other flags make of it.\n" +
			"Secrets are not in it, only the names of the files that hold them.\n\n" +
			"Example:\n   wnode dumpconfig --push > node.toml",
		Flags: settingFlags(),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			cfg, err := settingsOf(c)
			if err != nil {
				return err
			}
			return config.Dump(c.App.Writer, cfg)
		},
	}
}
