package wnode

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// shells are the shells with known completions.
var shells = []string{"bash", "zsh", "fish"}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print completions of commands and flags for a shell", ArgsUsage: strings.Join(shells, "|"),
		Description: "In bash: source <(wnode completion bash)\nIn zsh:  wnode completion zsh > \"${fpath[1]}/_wnode\"\nIn fish: wnode completion fish > ~/.config/fish/completions/wnode.fish\n\n" +
			"The packages for Debian and RPM install all of them.",
		Action: func(c *cli.Context) error {
			shell, err := oneArgument(c, "SHELL ("+strings.Join(shells, ", ")+")")
			if err != nil {
				return err
			}
			return printCompletion(c.App, shell, c.App.Writer)
		},
	}
}

func printCompletion(app *cli.App, shell string, w io.Writer) error {
	var text string
	switch shell {
	case "bash":
		text = bashCompletion(words(app))
	case "zsh":
		text = zshCompletion(words(app))
	case "fish":
		text = fishCompletion(words(app))
	default:
		return fmt.Errorf("there are no completions for %q; give %s", shell, strings.Join(shells, ", "))
	}
	_, err := io.WriteString(w, text)
	return err
}

// place is a command, and what may follow it.
type place struct {
	path     []string // of commands, without the program; empty: the program itself
	commands []entry
	flags    []flagWord
}

// entry is a word to type, and its purpose.
type entry struct{ name, usage string }

// flagWord is a flag with its dashes; value is the name of its value, empty if it takes none.
type flagWord struct {
	entry
	value string
}

// words returns all places where something can be typed, the program first.
func words(app *cli.App) (places []place) {
	places = append(places, placeOf(nil, app.Commands, app.Flags))
	var walk func(path []string, commands []*cli.Command)
	walk = func(path []string, commands []*cli.Command) {
		for _, command := range commands {
			if command.Hidden {
				continue
			}
			here := append(slices.Clone(path), command.Name)
			places = append(places, placeOf(here, command.Subcommands, command.Flags))
			walk(here, command.Subcommands)
		}
	}
	walk(nil, app.Commands)
	return places
}

func placeOf(path []string, commands []*cli.Command, flags []cli.Flag) place {
	p := place{path: path}
	for _, command := range commands {
		if !command.Hidden {
			p.commands = append(p.commands, entry{command.Name, command.Usage})
		}
	}
	for _, flag := range flags {
		documented, ok := flag.(cli.DocGenerationFlag)
		if visible, hides := flag.(cli.VisibleFlag); !ok || hides && !visible.IsVisible() {
			continue
		}
		value, usage := "", documented.GetUsage()
		if documented.TakesValue() {
			value = "VALUE"
			if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
				value = parts[1]
			}
		}
		for _, name := range flag.Names() {
			if len(name) > 1 {
				p.flags = append(p.flags, flagWord{entry{"--" + name, strings.ReplaceAll(usage, "`", "")}, value})
			}
		}
	}
	slices.SortFunc(p.flags, func(a, b flagWord) int { return strings.Compare(a.name, b.name) })
	return p
}

// isPath reports whether the value of a flag is a file or directory.
func (f flagWord) isPath() bool {
	return slices.Contains([]string{"FILE", "DIRECTORY", "PATH"}, f.value)
}

// pathFlags returns the flags, of all places, for which is returns true.
func pathFlags(places []place, is func(flagWord) bool) (names []string) {
	for _, p := range places {
		for _, f := range p.flags {
			if is(f) && !slices.Contains(names, f.name) {
				names = append(names, f.name)
			}
		}
	}
	slices.Sort(names)
	return names
}

const madeBy = "# Made by wnode completion; do not edit.\n"

func bashCompletion(places []place) string {
	var b strings.Builder
	b.WriteString(madeBy + `_wnode() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path= next= i
	COMPREPLY=()
	case "$before" in
	` + strings.Join(pathFlags(places, flagWord.isPath), "|") + `) COMPREPLY=($(compgen -f -- "$word")); return ;;
	` + strings.Join(pathFlags(places, func(f flagWord) bool { return f.value != "" && !f.isPath() }), "|") + `) return ;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		next=${COMP_WORDS[i]}
		case "$path $next" in
`)
	for _, p := range places[1:] {
		before := ""
		if n := len(p.path); n > 1 {
			before = " " + strings.Join(p.path[:n-1], " ")
		}
		fmt.Fprintf(&b, "\t\t%q) path=%q ;;\n", before+" "+p.path[len(p.path)-1], " "+strings.Join(p.path, " "))
	}
	b.WriteString("\t\tesac\n\tdone\n\tcase \"$path\" in\n")
	for _, p := range places {
		path := strings.Join(append([]string{""}, p.path...), " ")
		var all []string
		for _, c := range p.commands {
			all = append(all, c.name)
		}
		for _, f := range p.flags {
			all = append(all, f.name)
		}
		fmt.Fprintf(&b, "\t%q) next=%q ;;\n", path, strings.Join(all, " "))
	}
	b.WriteString(`	esac
	if [[ $word == -* || $next != -* ]]; then
		COMPREPLY=($(compgen -W "$next" -- "$word"))
	fi
	[[ $word == -* || ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -o filenames -F _wnode wnode
`)
	return b.String()
}

func zshCompletion(places []place) string {
	var b strings.Builder
	b.WriteString("#compdef wnode\n" + madeBy + `_wnode() {
	local place= i next
	for ((i = 2; i < CURRENT; i++)); do
		next=$words[i]
		case "$place $next" in
`)
	for _, p := range places[1:] {
		before := ""
		if n := len(p.path); n > 1 {
			before = " " + strings.Join(p.path[:n-1], " ")
		}
		fmt.Fprintf(&b, "\t\t%q) place=%q ;;\n", before+" "+p.path[len(p.path)-1], " "+strings.Join(p.path, " "))
	}
	b.WriteString("\t\tesac\n\tdone\n\tcase $words[CURRENT-1] in\n\t(" + strings.Join(pathFlags(places, flagWord.isPath), "|") + ") _files; return ;;\n" +
		"\t(" + strings.Join(pathFlags(places, func(f flagWord) bool { return f.value != "" && !f.isPath() }), "|") + ") _message value; return ;;\n\tesac\n" +
		"\tlocal -a commands flags\n\tcase \"$place\" in\n")
	quoted := func(w entry) string {
		return "'" + strings.ReplaceAll(strings.ReplaceAll(w.name, ":", `\:`)+":"+w.usage, "'", `'\''`) + "'"
	}
	for _, p := range places {
		fmt.Fprintf(&b, "\t%q)\n", strings.Join(append([]string{""}, p.path...), " "))
		for _, c := range p.commands {
			b.WriteString("\t\tcommands+=(" + quoted(c) + ")\n")
		}
		for _, f := range p.flags {
			b.WriteString("\t\tflags+=(" + quoted(f.entry) + ")\n")
		}
		b.WriteString("\t\t;;\n")
	}
	b.WriteString("\tesac\n\t(( $#commands )) && _describe command commands\n\t[[ $words[CURRENT] == -* ]] && _describe flag flags\n\t(( $#commands )) || _files\n}\n_wnode \"$@\"\n")
	return b.String()
}

func fishCompletion(places []place) string {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	var b strings.Builder
	b.WriteString(madeBy + `function __wnode_at
	set -l path
	for word in (commandline -opc)[2..]
		string match -q -- '-*' $word; or set -a path $word
	end
	test "$path" = "$argv"
end
complete -c wnode -f
`)
	for _, p := range places {
		at := quote(strings.TrimSpace("__wnode_at " + strings.Join(p.path, " ")))
		for _, c := range p.commands {
			fmt.Fprintf(&b, "complete -c wnode -n %s -a %s -d %s\n", at, quote(c.name), quote(c.usage))
		}
		for _, f := range p.flags {
			how := ""
			switch {
			case f.isPath():
				how = " -rF"
			case f.value != "":
				how = " -x"
			}
			fmt.Fprintf(&b, "complete -c wnode -n %s -l %s%s -d %s\n", at, quote(strings.TrimPrefix(f.name, "--")), how, quote(f.usage))
		}
	}
	return b.String()
}
