package wnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/simulate"
)

// Markers in battery.md around what the command writes.
const (
	costsBegin = "<!-- costs: written by wnode simulate --docs docs -->\n"
	costsEnd   = "<!-- end of costs -->\n"
)

func simulateCommand() *cli.Command {
	return &cli.Command{
		Name:  "simulate",
		Usage: "compute what notifications cost phones, for a million devices in virtual time",
		Description: "People, chats and messages are drawn from a seed. The server's own matching, budgets and decisions say who is\n" +
			"woken when, and the inbox's what is shown. For each way to be woken it prints wake-ups, fetches, kilobytes and\n" +
			"seconds of radio of a device and day, beside one push and one fetch for each message. It fails if any way costs\n" +
			"more than that. docs/battery.md has what is assumed.\n\n" +
			"Example:\n   wnode simulate --devices 100000 --seed 7",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "devices", Value: 1_000_000, Usage: fmt.Sprintf("simulate this many `DEVICES`, 1 to %d", simulate.MaxDevices)},
			&cli.IntFlag{Name: "days", Value: 1, Usage: fmt.Sprintf("for this many `DAYS`, 1 to %d", simulate.MaxDays)},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "draw everything from this `SEED`"},
			&cli.StringFlag{Name: "docs", Usage: "also write the table into battery.md, and battery.svg, in this `DIRECTORY`"},
			jsonFlag(),
		},
		Action: simulateAction,
	}
}

func simulateAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	options := simulate.Options{Devices: c.Int("devices"), Days: c.Int("days"), Seed: c.Uint64("seed")}
	switch {
	case options.Devices < 1 || options.Devices > simulate.MaxDevices:
		return fmt.Errorf("--devices cannot be %d; give 1 to %d", options.Devices, simulate.MaxDevices)
	case options.Days < 1 || options.Days > simulate.MaxDays:
		return fmt.Errorf("--days cannot be %d; give 1 to %d", options.Days, simulate.MaxDays)
	}
	clear := func() {}
	if isTerminal(c.App.ErrWriter) {
		options.Progress = func(done, all int) { fmt.Fprintf(c.App.ErrWriter, "\r%3d %%", done*100/all) }
		clear = func() { fmt.Fprint(c.App.ErrWriter, "\r     \r") }
	}
	result, err := simulate.Run(c.Context, options)
	clear()
	if err != nil {
		return err
	}
	if dir := c.String("docs"); dir != "" {
		if err := documentCosts(dir, result); err != nil {
			return err
		}
	}
	if err := printCosts(c.App.Writer, result, c.Bool("json")); err != nil {
		return err
	}
	if dearer := result.Verdict(); len(dearer) > 0 {
		return fmt.Errorf("a way to be woken costs more than one push for each message: %s", strings.Join(dearer, "; "))
	}
	return nil
}

// isTerminal reports whether a person may be looking.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func printCosts(w io.Writer, r *simulate.Result, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r.Report())
	}
	if _, err := fmt.Fprintln(w, r.Head()); err != nil {
		return err
	}
	return r.Table(w, false)
}

// documentCosts replaces the table in battery.md and draws battery.svg.
func documentCosts(dir string, r *simulate.Result) (err error) {
	path := filepath.Join(dir, "battery.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), costsBegin)
	_, after, ok2 := strings.Cut(rest, costsEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table: it needs the lines %q and %q", path, costsBegin, costsEnd)
	}
	var page, plot strings.Builder
	fmt.Fprintf(&page, "%s%s\n%s, %s.\n\n", before, costsBegin, time.Now().Format(time.DateOnly), r.Head())
	if err := errors.Join(r.Table(&page, true), r.Plot(&plot)); err != nil {
		return err
	}
	fmt.Fprintf(&page, "\n%s%s", costsEnd, after)
	return errors.Join(os.WriteFile(path, []byte(page.String()), 0o644), os.WriteFile(filepath.Join(dir, "battery.svg"), []byte(plot.String()), 0o644))
}
