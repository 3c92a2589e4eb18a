package main

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plot draws a bar for each result: how many times better than its target it is, on a
// logarithmic axis where 1 is the target. A share of 0 has no ratio and is left out.
func (r *report) plot(path string) error {
	var names []string
	var good, bad plotter.Values
	for i := len(r.results) - 1; i >= 0; i-- {
		res := r.results[i]
		t := r.target(res.name)
		margin := res.value / t.limit
		if t.most {
			margin = t.limit / res.value
		}
		if t.limit == 0 || math.IsInf(margin, 0) || math.IsNaN(margin) {
			continue
		}
		names = append(names, res.name)
		v := math.Log2(margin)
		if t.met(res.value) {
			good, bad = append(good, v), append(bad, 0)
		} else {
			good, bad = append(good, 0), append(bad, v)
		}
	}
	p := plot.New()
	p.Title.Text = "Measured beside the target (1 = the target, to the right is better)"
	p.X.Label.Text = "times better than the target"
	p.X.Tick.Marker = plot.TickerFunc(powersOfTwo)
	p.Add(plotter.NewGrid())
	for _, bars := range []struct {
		values plotter.Values
		fill   color.Color
	}{{good, color.RGBA{0x3b, 0x7d, 0x4f, 0xff}}, {bad, color.RGBA{0xb4, 0x43, 0x2f, 0xff}}} {
		chart, err := plotter.NewBarChart(bars.values, vg.Points(12))
		if err != nil {
			return err
		}
		chart.Horizontal = true
		chart.LineStyle.Width = 0
		chart.Color = bars.fill
		p.Add(chart)
	}
	p.NominalY(names...)
	p.X.Min, p.X.Max = min(p.X.Min, -1), max(p.X.Max, 1)
	return p.Save(18*vg.Centimeter, vg.Length(len(names)+4)*vg.Points(22), path)
}

// powersOfTwo marks the axis.
func powersOfTwo(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Ceil(least); e <= most; e++ {
		label := strconv.FormatFloat(math.Pow(2, e), 'g', 4, 64)
		if e < 0 {
			label = "1/" + strconv.FormatFloat(math.Pow(2, -e), 'g', 4, 64)
		}
		ticks = append(ticks, plot.Tick{Value: e, Label: label})
	}
	return ticks
}
