package wnode

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"

	"whisperpush/config"
)

func manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "write the manual pages wnode(1) and wnode.toml(5), and the completions, into DIRECTORY", ArgsUsage: "DIRECTORY", Hidden: true,
		Action: func(c *cli.Context) error {
			dir, err := oneArgument(c, "DIRECTORY")
			if err != nil {
				return err
			}
			files, err := manuals(c.App)
			if err != nil {
				return err
			}
			for name, text := range files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(path, text, 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// manuals returns the manual pages and completions, by their paths below the directory.
func manuals(app *cli.App) (map[string][]byte, error) {
	settings, err := settingsManual()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"man/wnode.1": commandsManual(app), "man/wnode.toml.5": settings}
	for shell, name := range map[string]string{"bash": "completions/wnode.bash", "zsh": "completions/_wnode", "fish": "completions/wnode.fish"} {
		var text bytes.Buffer
		if err := printCompletion(app, shell, &text); err != nil {
			return nil, err
		}
		files[name] = text.Bytes()
	}
	return files, nil
}

// marked escapes characters with a meaning in Markdown.
var marked = strings.NewReplacer("<", `\<`, "*", `\*`, "_", `\_`, "|", `\|`, "[", `\[`, "]", `\]`)

// commandsManual is the page wnode(1).
func commandsManual(app *cli.App) []byte {
	var page strings.Builder
	fmt.Fprintf(&page, "%% wnode 1 \"\" whisperpush \"User Commands\"\n# NAME\nwnode - %s\n\n# SYNOPSIS\n**wnode** [flags]\n\n**wnode** command [flags]\n\n# DESCRIPTION\n%s\n\n", app.Usage, paragraphs(app.Description))
	all := words(app)
	page.WriteString("# FLAGS OF THE NODE\nThe commands that say so take them too, to find the node and its settings: wnode.toml(5) has what each means.\n\n")
	node := map[string]bool{}
	for _, f := range all[0].flags {
		node[f.name] = true
		writeFlag(&page, f)
	}
	page.WriteString("# COMMANDS\n")
	commands := app.Commands
	for _, p := range all[1:] {
		command := find(commands, p.path)
		fmt.Fprintf(&page, "## wnode %s %s\n%s.\n\n", strings.Join(p.path, " "), marked.Replace(command.ArgsUsage), marked.Replace(strings.ToUpper(command.Usage[:1])+command.Usage[1:]))
		if command.Description != "" {
			page.WriteString(paragraphs(command.Description) + "\n\n")
		}
		takes := false
		for _, f := range p.flags {
			if f.name == "--help" {
				continue
			}
			if node[f.name] {
				takes = true
				continue
			}
			writeFlag(&page, f)
		}
		if takes {
			page.WriteString("It takes the flags of the node.\n\n")
		}
	}
	page.WriteString("# ENVIRONMENT\nEach flag of the node may be a variable in its place: **WNODE\\_HTTP\\_PORT** is **--http.port**. A flag wins over it, and it wins over the file.\n\n" +
		"# SIGNALS\n**SIGTERM** and **SIGINT** stop the node cleanly; **SIGHUP** has it read its settings anew.\n\n# SEE ALSO\nwnode.toml(5)\n")
	return md2man.Render([]byte(page.String()))
}

func find(commands []*cli.Command, path []string) (command *cli.Command) {
	for _, name := range path {
		for _, c := range commands {
			if c.Name == name {
				command, commands = c, c.Subcommands
				break
			}
		}
	}
	return command
}

func writeFlag(page *strings.Builder, f flagWord) {
	fmt.Fprintf(page, "**%s**", f.name)
	if f.value != "" {
		fmt.Fprintf(page, " %s", marked.Replace(f.value))
	}
	fmt.Fprintf(page, "\n: %s\n\n", marked.Replace(f.usage))
}

// paragraphs is a description as Markdown: indented text is code.
func paragraphs(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "   ") {
			out.WriteString("\n    " + strings.TrimLeft(line, " "))
			continue
		}
		out.WriteString(marked.Replace(line))
	}
	return out.String()
}

// settingsManual is the page wnode.toml(5), with the text of docs/configuration.md.
func settingsManual() ([]byte, error) {
	var page bytes.Buffer
	if err := config.Document(&page); err != nil {
		return nil, err
	}
	text := page.String()
	_, text, _ = strings.Cut(text, "\n## ") // without its introduction, which has links
	text = "## " + text
	text = strings.NewReplacer("\n## ", "\n# ", "&lt;", `\<`).Replace("\n" + text)
	head := "% wnode.toml 5 \"\" whisperpush \"File Formats\"\n# NAME\nwnode.toml - settings of a Whisper node with mail and push\n\n# DESCRIPTION\n" +
		"The file that **wnode --config** names, in TOML. Each key is here with its default; **wnode dumpconfig** prints them all, and **wnode check-config** says what is wrong with a file.\n"
	return md2man.Render([]byte(head + text + "\n# SEE ALSO\nwnode(1)\n")), nil
}
