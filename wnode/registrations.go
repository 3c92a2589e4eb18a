package wnode

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/wnode/node"
)

func registrationsCommand() *cli.Command {
	return &cli.Command{
		Name:  "registrations",
		Usage: "list, show and end the registrations of the running node",
		Description: "The node is asked over its local socket. A registration has a name that the node makes up for as long as it\n" +
			"runs: no address, key, topic or device is shown, and nothing that another list of another day has too.\n\n" +
			"Example:\n   wnode registrations list --datadir /var/lib/whisperpush",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list all registrations, a line each",
				Flags: append(settingFlags(), jsonFlag()),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					return listRegistrations(c)
				},
			},
			onRegistration("show", "show what is known of one registration", printStanding),
			onRegistration("why", "say why the device of a registration is not woken, a reason a line", printWhy),
			{
				Name: "revoke", Usage: "end a registration; its device learns of it when it next asks, and may register again", ArgsUsage: "NAME",
				Flags: append(settingFlags(), jsonFlag()),
				Action: func(c *cli.Context) error {
					name, err := oneArgument(c, "NAME")
					if err != nil {
						return err
					}
					var ended bool
					if err := askNode(c, &ended, "wnode_revoke", name); err != nil {
						return err
					}
					if c.Bool("json") {
						return printJSON(c.App.Writer, map[string]bool{"ended": ended})
					}
					text := "ended"
					if !ended {
						text = "it had ended before"
					}
					_, err = fmt.Fprintln(c.App.Writer, text)
					return err
				},
			},
			{
				Name: "limits", Usage: "show how much there is of what strangers can grow, and how much there may be",
				Flags: append(settingFlags(), jsonFlag()),
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
					var all []node.UseReport
					if err := askNode(c, &all, "wnode_limits"); err != nil {
						return err
					}
					if c.Bool("json") {
						return printJSON(c.App.Writer, all)
					}
					rows := [][]string{{"WHAT", "USED", "MOST"}}
					for _, use := range all {
						rows = append(rows, []string{use.What, strconv.Itoa(use.Used), strconv.Itoa(use.Most)})
					}
					return printTable(c.App.Writer, rows...)
				},
			},
		},
	}
}

// onRegistration is a command that asks for one registration by name.
func onRegistration(name, usage string, print func(io.Writer, node.StandingReport) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "NAME", Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			named, err := oneArgument(c, "NAME")
			if err != nil {
				return err
			}
			var standing node.StandingReport
			if err := askNode(c, &standing, "wnode_registration", named); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, standing)
			}
			return print(c.App.Writer, standing)
		},
	}
}

// oneArgument returns the one argument after the flags.
func oneArgument(c *cli.Context, what string) (string, error) {
	switch c.NArg() {
	case 1:
		return c.Args().First(), nil
	case 0:
		return "", fmt.Errorf("%s needs %s; see %s --help", c.Command.HelpName, what, c.Command.HelpName)
	}
	return "", fmt.Errorf("%s takes one %s, and flags before it; it got %q too", c.Command.HelpName, what, c.Args().Get(1))
}

// listRegistrations requests the list page by page, so that a long one is never all in memory.
func listRegistrations(c *cli.Context) error {
	header := [][]string{{"NAME", "STATE", "PROVIDERS", "CHANNELS", "REGISTERED", "EXPIRES"}}
	for after, first := "", true; after != "" || first; first = false {
		var page node.RegistrationPage
		if err := askNode(c, &page, "wnode_registrations", after); err != nil {
			return err
		}
		after = page.Next
		if c.Bool("json") {
			for _, r := range page.Registrations { // one line each
				if err := printJSON(c.App.Writer, r); err != nil {
					return err
				}
			}
			continue
		}
		rows := header
		for _, r := range page.Registrations {
			rows = append(rows, []string{r.Name, r.State, routeWords(r.Routes), strconv.Itoa(r.Channels), r.Registered, r.Expires})
		}
		if header = nil; len(rows) == 0 {
			continue
		}
		if err := printTable(c.App.Writer, rows...); err != nil {
			return err
		}
	}
	return nil
}

// routeWords are the providers of routes, in order, with unproved ones in parentheses.
func routeWords(routes []node.RouteReport) string {
	var words []string
	for _, r := range routes {
		if r.Proven {
			words = append(words, r.Provider)
		} else {
			words = append(words, "("+r.Provider+")")
		}
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ",")
}

func printStanding(w io.Writer, s node.StandingReport) error {
	rows := [][]string{
		{"name", s.Name}, {"state", s.State}, {"providers", routeWords(s.Routes)},
		{"channels", fmt.Sprintf("%d, %d for mentions alone, %d muted", s.Channels, s.Mentions, s.Muted)},
		{"registered", s.Registered}, {"expires", s.Expires},
		{"not fetched", fmt.Sprintf("%d, %d of them not woken for", s.Unread, s.Pending)},
		{"lost", strconv.FormatUint(uint64(s.Lost), 10)},
	}
	for _, why := range s.Why {
		rows = append(rows, []string{"not woken", why})
	}
	return printTable(w, rows...)
}

func printWhy(w io.Writer, s node.StandingReport) error {
	text := "nothing is in the way\n"
	if len(s.Why) > 0 {
		text = strings.Join(s.Why, "\n") + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
