// Package wnode is the command line. The node itself is package node.
//
// Main picks a command. The one without a name runs a node until a signal comes. The others have files of their own:
// quickstart, send, device, demo, emulate, doctor, health, reload, providers, registrations, archive, backup and
// restore, move, keys, voucher, evidence, recover, completion, man, simulate, dumpconfig, check-config, version.
// flags.go applies the flags to the settings, which are a config.Config.
package wnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/wnode/node"
)

// Main runs the command in args, whose first element is the program's name, and returns the exit code: 0 if the command
// succeeded, 1 with a sentence on stderr otherwise. It ends early, and cleanly, when ctx ends or at the first SIGINT or
// SIGTERM; a second one ends the process at once. At SIGHUP a node reloads its settings, and every other command ends.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // back to the default, so that the second signal kills
	ctx, release := withHangups(ctx, stop)
	defer release()

	err := newApp(stdin, stdout, stderr).RunContext(ctx, args)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errLogged) {
		fmt.Fprintf(stderr, "wnode: %s\n", err)
	}
	return 1
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "wnode",
		Usage:     "a Whisper node that keeps mail and wakes the devices it is for",
		UsageText: "wnode [flags]            run the node until it is interrupted\nwnode <command> [flags]  see wnode <command> --help",
		Description: "Without a command the node relays Whisper (shh/6) messages. With --mailserver it also archives them and\n" +
			"answers mail requests; with --push it wakes registered devices when something for them was archived.\n" +
			"On standard output it prints its enode URL, with --push its push public key, and the VAPID public key of each\n" +
			"Web Push provider, a line each; it logs to standard error. SIGTERM and SIGINT stop it cleanly, SIGHUP reloads\n" +
			"its settings (see wnode reload --help).\n\n" +
			"Each flag below may be given in the environment: WNODE_HTTP_PORT is --http.port. A flag wins over the environment,\n" +
			"and the environment over the --config file. What is secret is named by a file, which may be one of systemd's\n" +
			"credentials or a container's secrets; WNODE_NODEKEYHEX is seen by nobody else, and --nodekeyhex is.\n\n" +
			"Example:\n   wnode --datadir /var/lib/whisperpush --push --config /etc/whisperpush/node.toml",
		Version:                   node.Version(),
		HideVersion:               true,
		HideHelp:                  true, // replaced by helpFlag
		Reader:                    stdin,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		Flags:                     append(settingFlags(), helpFlag(), &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version", DisableDefaultText: true}),
		Action:                    serveAction,
		Commands:                  []*cli.Command{demoCommand(), sendCommand(), deviceCommand(), emulateCommand(), doctorCommand(), healthCommand(), quickstartCommand(), reloadCommand(), providersCommand(), registrationsCommand(), archiveCommand(), backupCommand(), restoreCommand(), moveCommand(), keysCommand(), voucherCommand(), evidenceCommand(), recoverCommand(), completionCommand(), manCommand(), simulateCommand(), checkconfigCommand(), dumpconfigCommand(), versionCommand(), helpCommand()},
		ExitErrHandler:            func(*cli.Context, error) {}, // Main prints and decides the exit code
		DisableSliceFlagSeparator: true,                         // a password may have a comma
	}
	app.OnUsageError = usageError
	var prepare func(commands []*cli.Command)
	prepare = func(commands []*cli.Command) {
		for _, command := range commands {
			command.OnUsageError = usageError
			command.HideHelp = true
			command.Flags = append(command.Flags, helpFlag())
			if command.Action == nil {
				command.Action = needSubcommand
			}
			if command.Name != dumpconfigName && command.Name != checkconfigName {
				command.Before = refuseNodeFlags
			}
			prepare(command.Subcommands)
		}
	}
	prepare(app.Commands)
	return app
}

// errLogged is an error that is already in the log.
var errLogged = errors.New("see the log")

// helpFlag makes a --help for each command: the library shares one, which two runs in the same process, as in tests,
// would write to at the same time.
func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help", DisableDefaultText: true}
}

// helpCommand prints what --help does, for people who type it as a command.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "show help, of a command if its name follows", UsageText: "wnode help [command…]",
		Action: func(c *cli.Context) error {
			args, commands := []string{c.App.Name}, c.App.Commands
			for _, word := range c.Args().Slice() {
				i := slices.IndexFunc(commands, func(command *cli.Command) bool { return command.HasName(word) })
				if i < 0 && len(commands) == 0 {
					return fmt.Errorf("%s has no commands of its own, and got %q", strings.Join(args, " "), word)
				}
				if i < 0 {
					return unknownCommand(word, commands)
				}
				args, commands = append(args, word), commands[i].Subcommands
			}
			return newApp(c.App.Reader, c.App.Writer, c.App.ErrWriter).RunContext(c.Context, append(args, "--help"))
		},
	}
}

// serveAction is what wnode does without a command.
func serveAction(c *cli.Context) error {
	if c.Bool("version") {
		return printVersion(c)
	}
	if word := c.Args().First(); word != "" {
		return unknownCommand(word, c.App.Commands)
	}
	cfg, faults := everyFault(c, false)
	if len(faults) > 1 {
		return notStarted(c, cfg, severalFaults(faults))
	}
	cfg, err := settingsOf(c) // a single fault is best reported by the node itself, when it meets it
	if err == nil {
		again := node.Again{Read: func() (config.Config, error) { return settingsOf(c) }, Asked: reloads(c.Context)}
		err = node.Serve(c.Context, cfg, again, c.App.Writer, c.App.ErrWriter)
	}
	return notStarted(c, cfg, err)
}

// notStarted reports why a node does not run, in the place where its log is read.
func notStarted(c *cli.Context, cfg config.Config, err error) error {
	if err != nil && (cfg.Log.Format == "json" || c.String("log.format") == "json") { // the reader of that log reads nothing else
		node.LogFailure(c.App.ErrWriter, err)
		return errLogged
	}
	return err
}

// refuseNodeFlags refuses the node's flags before the name of a command that ignores them.
func refuseNodeFlags(c *cli.Context) error {
	for _, level := range c.Lineage() {
		if level.Command == nil || level.Command.Name != c.App.Name {
			continue
		}
		given := level.LocalFlagNames()
		for _, flag := range c.App.Flags {
			if !slices.ContainsFunc(flag.Names(), func(name string) bool { return slices.Contains(given, name) }) {
				continue
			}
			name := flag.Names()[0]
			return fmt.Errorf("--%s before %s is a flag of the node, which %s does not run; leave it out, or see wnode %s --help", name, c.Command.Name, c.Command.Name, c.Command.Name)
		}
	}
	return nil
}

// needSubcommand is the action of a command that only has subcommands.
func needSubcommand(c *cli.Context) error {
	if word := c.Args().First(); word != "" {
		return unknownCommand(word, c.Command.Subcommands)
	}
	return fmt.Errorf("%s needs one of its commands: %s", c.Command.HelpName, strings.Join(commandNames(c.Command.Subcommands), ", "))
}

func unknownCommand(word string, commands []*cli.Command) error {
	return fmt.Errorf("there is no command %q; the commands are %s", word, strings.Join(commandNames(commands), ", "))
}

func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, command := range commands {
		if !command.Hidden {
			names = append(names, command.Name)
		}
	}
	return names
}

// Messages of the flag parser when it stops.
var (
	unknownFlag   = regexp.MustCompile(`^flag provided but not defined: -+(.*)$`)
	missingValue  = regexp.MustCompile(`^flag needs an argument: -+(.*)$`)
	unusableValue = regexp.MustCompile(`^invalid (?:boolean )?value "(.*)" for (?:flag )?-+([\w.-]+): `)
)

// gethFlags are geth's former flags, and their present names.
var gethFlags = map[string]string{
	"rpc": "http", "rpcaddr": "http.addr", "rpcport": "http.port", "rpcapi": "http.api", "rpccorsdomain": "http.corsdomain",
	"rpcvhosts": "http.vhosts", "wsaddr": "ws.addr", "wsport": "ws.port", "wsapi": "ws.api", "wsorigins": "ws.origins",
}

// usageError turns the flag parser's message into one sentence; without it the parser prints the whole help.
func usageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if m := unknownFlag.FindStringSubmatch(text); m != nil {
		var known []string
		for _, flag := range flagsOf(c) {
			known = append(known, "--"+flag.Names()[0])
		}
		if now, ok := gethFlags[m[1]]; ok {
			return fmt.Errorf("--%s is geth's old name of --%s; give that", m[1], now)
		}
		help := "wnode --help lists the flags"
		if c.Command != nil && c.Command.HelpName != "" && len(c.Command.Flags) > 0 {
			help = c.Command.HelpName + " --help lists the flags"
		}
		return fmt.Errorf("there is no flag --%s; %s", m[1], config.Suggest("--"+m[1], known, help))
	}
	if m := missingValue.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("--%s needs a value", m[1])
	}
	if strings.Contains(text, errTwoConfigs.Error()) {
		return errTwoConfigs
	}
	if m := unusableValue.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("--%s cannot be %q; %s", m[2], m[1], wantedValue(flagsOf(c), m[2]))
	}
	return errors.New(text)
}

// wantedValue says what a flag takes.
func wantedValue(flags []cli.Flag, name string) string {
	for _, flag := range flags {
		if flag.Names()[0] != name {
			continue
		}
		switch flag.(type) {
		case *cli.BoolFlag:
			return "give true or false"
		case *cli.IntFlag, *cli.UintFlag:
			return "give a whole number"
		case *cli.Float64Flag:
			return "give a number"
		case *cli.DurationFlag:
			return "give a duration, such as 30s or 5m"
		}
	}
	return "give another value"
}

// flagsOf lists the flags that c's command takes.
func flagsOf(c *cli.Context) []cli.Flag {
	if c.Command != nil && len(c.Command.Flags) > 0 {
		return c.Command.Flags
	}
	return c.App.Flags
}
