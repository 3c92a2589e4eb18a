package statuspage

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Promised is how many seconds a wake-up may take to be accepted.
const Promised = 15.0

// flow are counters since the node started.
type flow struct {
	In      float64 `json:"in"`      // envelopes archived
	Matched float64 `json:"matched"` // of these, matches with a device to be woken, one for each device
	Pushed  float64 `json:"pushed"`  // wake-ups that a push service accepted
	Fetched float64 `json:"fetched"` // matches whose envelope the device has fetched
}

// figures are what the metrics say.
type figures struct {
	flow
	Peers         float64            `json:"peers"`
	ArchiveBytes  float64            `json:"archive_bytes"`
	Registrations map[string]float64 `json:"registrations"` // by state
	Channels      float64            `json:"channels"`
	Flying        float64            `json:"flying"` // attempts under way
	Rings         []bucket           `json:"rings"`
	InTime        float64            `json:"in_time"` // share of the rings, 1 if there were none
}

// bucket is how many wake-ups were accepted within Most seconds of archiving, but later than in the bucket before.
type bucket struct {
	Most  float64 `json:"most"` // 0: any number
	Count float64 `json:"count"`
}

// gather reads the figures. Figures that the node lacks are zero.
func gather(from prometheus.Gatherer) (figures, error) {
	families, err := from.Gather()
	if err != nil {
		return figures{}, fmt.Errorf("gather the metrics: %w", err)
	}
	f := figures{Registrations: map[string]float64{}}
	rings := map[float64]float64{} // by upper bound, cumulative
	total := 0.0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			switch family.GetName() {
			case "whisperpush_mailserver_archived_envelopes_total":
				f.In += value
			case "whisperpush_pushext_matches_total":
				f.Matched += value
			case "whisperpush_pushext_attempts_total":
				if label(m, "class") == "delivered" {
					f.Pushed += value
				}
			case "whisperpush_pushext_outcomes_total":
				if label(m, "outcome") == "fetched" {
					f.Fetched += value
				}
			case "whisperpush_whisper_peers":
				f.Peers += value
			case "whisperpush_mailserver_archive_disk_bytes":
				f.ArchiveBytes += value
			case "whisperpush_pushext_registrations":
				f.Registrations[label(m, "state")] += value
			case "whisperpush_pushext_channels":
				f.Channels += value
			case "whisperpush_pushext_attempts_in_flight":
				f.Flying += value
			case "whisperpush_pushext_archived_to_accepted_seconds":
				total += float64(m.GetHistogram().GetSampleCount())
				for _, b := range m.GetHistogram().GetBucket() {
					rings[b.GetUpperBound()] += float64(b.GetCumulativeCount())
				}
			}
		}
	}
	f.InTime = 1
	before := 0.0
	for _, most := range slices.SortedFunc(maps.Keys(rings), cmp.Compare[float64]) {
		if math.IsInf(most, 1) {
			continue
		}
		f.Rings = append(f.Rings, bucket{most, rings[most] - before})
		before = rings[most]
		if most == Promised && total > 0 {
			f.InTime = before / total
		}
	}
	f.Rings = append(f.Rings, bucket{0, total - before})
	return f, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// sample is the flow at one time.
type sample struct {
	at time.Time
	flow
}

// point is the flow per minute between two samples.
type point struct {
	At int64 `json:"at"` // Unix seconds
	flow
}

// pointsOf returns the points between consecutive samples. A counter that goes back, such as that of an archive opened
// again, counts as unchanged.
func pointsOf(ring []sample) []point {
	points := []point{}
	for i := 1; i < len(ring); i++ {
		a, b := ring[i-1], ring[i]
		minutes := b.at.Sub(a.at).Minutes()
		if minutes <= 0 {
			continue
		}
		rate := func(from, to float64) float64 { return max(to-from, 0) / minutes }
		points = append(points, point{b.at.Unix(), flow{
			rate(a.In, b.In), rate(a.Matched, b.Matched), rate(a.Pushed, b.Pushed), rate(a.Fetched, b.Fetched),
		}})
	}
	return points
}

// days formats a duration as an operator sets it.
func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}
