package wnode

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

// keysPause is how often a command asks for the node's progress.
const keysPause = 200 * time.Millisecond

func keysCommand() *cli.Command {
	return &cli.Command{
		Name: "keys", Usage: "show the keys of the running node, and exchange the disk key or the push key",
		UsageText: "wnode keys [flags]\nwnode keys rotate [flags] disk\nwnode keys rotate [flags] [--now] push",
		Description: "It prints a line for each key: where its file is, its public half, and whether it is in use. No secret is printed.\n\n" +
			"wnode keys rotate disk makes a new key for the registrations on disk, puts it into the file of the former one, and has the\n" +
			"node seal all of them anew while it goes on; it returns when that is done, and may be interrupted. Backups from before\n" +
			"need the former key, which they hold. Copy the new one to where you keep secrets.\n\n" +
			"wnode keys rotate push makes another key for devices to find the server by, and puts it into the file of the former one,\n" +
			"which stays beside it (pushkey.former). For Push.KeyOverlap, two weeks, the node answers to both and tells devices of the new\n" +
			"one, signed by the former; wnode keys says how many registrations have gone on with it. After that, the former key is\n" +
			"refused, and a device that comes late still goes on. With --now others may know the former key: it is refused at once, and\n" +
			"nothing that it signs is believed; the apps have to be given the new one. While there is an overlap, --now ends it so.\n\n" +
			"Example:\n   wnode keys --datadir /var/lib/whisperpush",
		Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if word := c.Args().First(); word != "" {
				return unknownCommand(word, c.Command.Subcommands)
			}
			return printKeys(c)
		},
		Subcommands: []*cli.Command{{
			Name: "rotate", Usage: "exchange a key: disk or push", ArgsUsage: "disk|push",
			Flags: append(settingFlags(), jsonFlag(),
				&cli.BoolFlag{Name: "now", Usage: "others may know the push key: the former one is refused at once, and leads to no other", DisableDefaultText: true}),
			Action: func(c *cli.Context) error {
				name, err := oneArgument(c, "KEY (disk or push)")
				if err != nil {
					return err
				}
				switch {
				case name == "push":
					return rotatePushKey(c)
				case name == "disk" && c.Bool("now"):
					return errors.New("--now is for the push key")
				case name == "disk":
					return rotateDiskKey(c)
				case name == "node":
					return errors.New("the node key is not exchanged while devices know it: they find the server by it")
				}
				return fmt.Errorf("there is no key %q to exchange; give disk or push", name)
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
	if err := printTable(c.App.Writer, rows...); err != nil {
		return err
	}
	var push node.PushKeyReport
	if err := askNode(c, &push, "wnode_pushKey"); err != nil || push.Former == "" {
		return nil // push is off, or its key is the first
	}
	_, err := fmt.Fprintln(c.App.Writer, pushKeyText(push))
	return err
}

// pushKeyText says how many devices have moved on to a push key.
func pushKeyText(k node.PushKeyReport) string {
	moved := fmt.Sprintf("%d of %d registrations have gone on with the push key that is in use", k.Moved, k.All)
	switch day := k.Until.UTC().Format(time.DateOnly); k.State {
	case node.PushKeyOverlap:
		return fmt.Sprintf("%s; the former one is answered to until %s", moved, day)
	case node.PushKeyEnded:
		return fmt.Sprintf("%s; the former one is refused since %s, and leads to no other", moved, day)
	default:
		return fmt.Sprintf("%s; the former one is refused since %s, and devices that come with it are told of the next", moved, day)
	}
}

// rotatePushKey asks for a new push key, or for the end of an overlap.
func rotatePushKey(c *cli.Context) error {
	var report node.PushKeyReport
	if err := askNode(c, &report, "wnode_rotatePushKey", c.Bool("now")); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, report)
	}
	_, err := fmt.Fprintf(c.App.Writer, "pushkey: %s\nit is in %s; copy it, and %s.former, to where you keep secrets\n%s\n", report.Public, report.File, report.File, pushKeyText(report))
	return err
}

// rotateDiskKey asks for a new disk key, and waits until everything is sealed with it.
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
