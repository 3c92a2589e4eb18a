package wnode

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

// keysPause is how often a command asks how far the node has come.
const keysPause = 200 * time.Millisecond

func keysCommand() *cli.Command {
	return &cli.Command{
		Name: "keys", Usage: "show the keys of the running node, and exchange the disk key",
		UsageText: "wnode keys [flags]\nwnode keys rotate [flags] disk",
		Description: "It prints a line for each key: where its file is, its public half, and whether it is in use. No secret is printed.\n\n" +
			"wnode keys rotate disk makes a new key for the registrations on disk, puts it into the file of the former one, and has the\n" +
			"node seal all of them anew while it goes on; it returns when that is done, and may be interrupted. Backups from before\n" +
			"need the former key, which they hold. Copy the new one to where you keep secrets.\n\n" +
			"Example:\n   wnode keys --datadir /var/lib/whisperpush",
		Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if word := c.Args().First(); word != "" {
				return unknownCommand(word, c.Command.Subcommands)
			}
			return printKeys(c)
		},
		Subcommands: []*cli.Command{{
			Name: "rotate", Usage: "exchange a key: disk", ArgsUsage: "disk",
			Flags: append(settingFlags(), jsonFlag()),
			Action: func(c *cli.Context) error {
				name, err := oneArgument(c, "the name of a key: disk")
				if err != nil {
					return err
				}
				switch name {
				case "disk":
					return rotateDiskKey(c)
				case "push", "node":
					return fmt.Errorf("the %s key is not exchanged while devices know it: they find the server by it", name)
				}
				return fmt.Errorf("there is no key %q to exchange; give disk", name)
			},
		}},
	}
}

func printKeys(c *cli.Context) error {
	var keys []node.KeyReport
	if err := askNode(c, &keys, "wnode_keys"); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, keys)
	}
	rows := [][]string{{"KEY", "FILE", "STATE", "PUBLIC"}}
	for _, k := range keys {
		rows = append(rows, []string{k.Name, k.File, k.State, k.Public})
	}
	return printTable(c.App.Writer, rows...)
}

// rotateDiskKey has the disk key exchanged, and waits until all is sealed with the new one.
func rotateDiskKey(c *cli.Context) error {
	var report node.KeyReport
	if err := askNode(c, &report, "wnode_rotateDiskKey"); err != nil {
		return err
	}
	for begun := report.State; report.State == begun; {
		select {
		case <-c.Context.Done():
			return errors.New("the disk key is exchanged, and the node goes on to seal registrations with it")
		case <-time.After(keysPause):
		}
		var keys []node.KeyReport
		if err := askNode(c, &keys, "wnode_keys"); err != nil {
			return err
		}
		for _, k := range keys {
			if k.Name == report.Name {
				report = k
			}
		}
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, report)
	}
	_, err := fmt.Fprintf(c.App.Writer, "exchanged: the new disk key is in %s; copy it to where you keep secrets\n", report.File)
	return err
}
