package simulate

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Daily is what one device pays in a day.
type Daily struct {
	Wakeups float64 `json:"wakeups"`
	Fetches float64 `json:"fetches"`
	Bytes   float64 `json:"bytes"`
	Radio   float64 `json:"radio_seconds"`
	Sounded float64 `json:"sounded"`
}

// Daily returns the cost per device and day.
func (c Cost) Daily(days int) Daily {
	n := float64(c.Devices * days)
	if n == 0 {
		return Daily{}
	}
	return Daily{float64(c.Wakeups) / n, float64(c.Fetches) / n, float64(c.Bytes) / n, c.Radio.Seconds() / n, float64(c.Sounded) / n}
}

// metrics are what must not cost more than in the baseline.
var metrics = []struct {
	name string
	of   func(Daily) float64
}{
	{"wake-ups", func(d Daily) float64 { return d.Wakeups }},
	{"fetches", func(d Daily) float64 { return d.Fetches }},
	{"bytes", func(d Daily) float64 { return d.Bytes }},
	{"seconds of radio", func(d Daily) float64 { return d.Radio }},
}

// Verdict says, in a sentence each, what costs more than one push for each message
// would.
func (r *Result) Verdict() (dearer []string) {
	for _, l := range r.Lines {
		ours, base := l.Cost.Daily(r.Options.Days), l.Base.Daily(r.Options.Days)
		for _, m := range metrics {
			if m.of(ours) > m.of(base) {
				dearer = append(dearer, fmt.Sprintf("%s: %.1f %s a device and day, and %.1f with one push for each message", l.Name, m.of(ours), m.name, m.of(base)))
			}
		}
	}
	return dearer
}

// Table writes the result for people, aligned for a terminal or as Markdown.
func (r *Result) Table(w io.Writer, markdown bool) error {
	rows := [][]string{{"", "wake-ups", "fetches", "kB", "radio s", "sounds"}}
	row := func(name string, c Cost) {
		d := c.Daily(r.Options.Days)
		rows = append(rows, []string{name, fmt.Sprintf("%.1f", d.Wakeups), fmt.Sprintf("%.1f", d.Fetches), fmt.Sprintf("%.1f", d.Bytes/1000), fmt.Sprintf("%.0f", d.Radio), fmt.Sprintf("%.1f", d.Sounded)})
	}
	pairs := false
	for i, l := range r.Lines {
		if two := scenarios[i].pairs; i == 0 || two && !pairs {
			name := "one push a message"
			if two {
				name += ", two devices"
			}
			row(name, l.Base)
			pairs = pairs || two
		}
		row(l.Name, l.Cost)
	}
	for _, g := range r.Groups {
		row(fmt.Sprintf("group of %d: one push a message", g.Size), g.Base)
		row(fmt.Sprintf("group of %d: coalesced", g.Size), g.Messages)
		row(fmt.Sprintf("group of %d: mentions", g.Size), g.Mentions)
	}
	var b strings.Builder
	if markdown {
		for i, cells := range rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
			if i == 0 {
				b.WriteString("|---|---|---|---|---|---|\n")
			}
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, cells := range rows {
		fmt.Fprintln(table, strings.Join(cells, "\t")+"\t")
	}
	table.Flush()
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// Head says in one line what was simulated.
func (r *Result) Head() string {
	return fmt.Sprintf("%d devices, %d hours, seed %d; each number is of one device and day", r.Options.Devices, 24*r.Options.Days, r.Options.Seed)
}

// Report is a result for programs: what a device pays in a day.
type Report struct {
	Devices int           `json:"devices"`
	Days    int           `json:"days"`
	Seed    uint64        `json:"seed"`
	Ways    []ReportWay   `json:"ways"`
	Groups  []ReportGroup `json:"groups"`
}

// ReportWay is one way to be woken, compared with one push for each message.
type ReportWay struct {
	Name     string `json:"name"`
	What     string `json:"what"`
	Ours     Daily  `json:"ours"`
	Baseline Daily  `json:"baseline"`
}

// ReportGroup is a member of a group of some size who is in no other chat.
type ReportGroup struct {
	Size     int   `json:"size"`
	Messages Daily `json:"messages"`
	Mentions Daily `json:"mentions"`
	Baseline Daily `json:"baseline"`
}

// Report returns the result for programs.
func (r *Result) Report() Report {
	days := r.Options.Days
	report := Report{Devices: r.Options.Devices, Days: days, Seed: r.Options.Seed}
	for _, l := range r.Lines {
		report.Ways = append(report.Ways, ReportWay{l.Name, l.What, l.Cost.Daily(days), l.Base.Daily(days)})
	}
	for _, g := range r.Groups {
		report.Groups = append(report.Groups, ReportGroup{g.Size, g.Messages.Daily(days), g.Mentions.Daily(days), g.Base.Daily(days)})
	}
	return report
}
