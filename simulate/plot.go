package simulate

import (
	"fmt"
	"io"
	"strings"
)

// Positions in the plot, in points.
const (
	labelWidth = 120
	unitWidth  = 480 // width of the baseline
	barHeight  = 11
	rowHeight  = 4*barHeight + 14
	headHeight = 54
)

// shades are the colours of the metrics.
var shades = [...]string{"#3b7d4f", "#4f6fa8", "#b07d2b", "#7a5195"}

// Plot writes an SVG with the cost of each scenario as a part of the baseline.
func (r *Result) Plot(w io.Writer) error {
	var b strings.Builder
	height := headHeight + len(r.Lines)*rowHeight + 24
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", labelWidth+unitWidth+60, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	fmt.Fprintf(&b, `<text x="%d" y="18" font-size="13">What a device pays, as a part of one push and one fetch for each message</text>`+"\n", labelWidth)
	x := labelWidth
	for i, m := range metrics {
		fmt.Fprintf(&b, `<rect x="%d" y="30" width="10" height="10" fill="%s"/><text x="%d" y="39">%s</text>`+"\n", x, shades[i], x+14, m.name)
		x += 120
	}
	for tenths := 0; tenths <= 10; tenths += 2 {
		x := labelWidth + unitWidth*tenths/10
		fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#cccccc"/><text x="%d" y="%d" text-anchor="middle">%d %%</text>`+"\n",
			x, headHeight-4, x, height-18, x, height-5, tenths*10)
	}
	for row, l := range r.Lines {
		y := headHeight + row*rowHeight
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+2*barHeight+4, l.Name)
		ours, base := l.Cost.Daily(r.Options.Days), l.Base.Daily(r.Options.Days)
		for i, m := range metrics {
			part := 0.0
			if m.of(base) > 0 {
				part = m.of(ours) / m.of(base)
			}
			width := unitWidth * part
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="9">%.2f</text>`+"\n",
				labelWidth, y+i*barHeight, width, barHeight-1, shades[i], labelWidth+width+3, y+i*barHeight+barHeight-3, part)
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
