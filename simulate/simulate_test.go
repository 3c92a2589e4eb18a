package simulate

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// The same seed gives the same result whatever the order in which districts are done, and
// another seed another.
func TestRunIsItsSeed(t *testing.T) {
	run := func(seed uint64) *Result {
		r, err := Run(t.Context(), Options{Devices: 450, Seed: seed, together: 100})
		require.NoError(t, err)
		return r
	}
	first := run(1)
	require.Equal(t, first, run(1))
	require.NotEqual(t, first.Lines, run(2).Lines)
	for _, l := range first.Lines {
		require.Positive(t, l.Cost.Wakeups, l.Name)
		require.LessOrEqual(t, l.Cost.Devices, 450)
		require.Equal(t, l.Cost.Devices, l.Base.Devices, l.Name)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, o := range []Options{{Devices: -1}, {Devices: MaxDevices + 1}, {Days: -1}, {Days: MaxDays + 1}} {
		_, err := Run(t.Context(), o)
		require.ErrorIs(t, err, ErrOptions)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, Options{})
	require.True(t, errors.Is(err, context.Canceled))
}

// What costs more than the baseline is said, in words.
func TestVerdict(t *testing.T) {
	r := Result{Options: Options{Days: 1}, Lines: []Line{{
		Name: "worse", Cost: Cost{Devices: 2, Wakeups: 5, Bytes: 10}, Base: Cost{Devices: 2, Wakeups: 4, Bytes: 10},
	}}}
	require.Equal(t, []string{"worse: 2.5 wake-ups a device and day, and 2.0 with one push for each message"}, r.Verdict())
}

func TestPlotIsXML(t *testing.T) {
	r, err := Run(t.Context(), Options{Devices: 100})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, r.Plot(&b))
	d := xml.NewDecoder(&b)
	for err == nil {
		_, err = d.Token()
	}
	require.ErrorIs(t, err, io.EOF)
}

// alone is what a district pays in a scenario.
func alone(t *testing.T, s scenario, d *district, arrivals [][]arrival) Cost {
	t.Helper()
	rules, err := s.rules()
	require.NoError(t, err)
	return d.cost(&s, rules, arrivals, arrivals, 1)
}

// Messages while a device cannot be reached are one wake-up and one fetch when it is
// back, and with the ladder two wake-ups: each service has kept one.
func TestUnreached(t *testing.T) {
	d := &district{people: []person{{first: 0, second: -1}}, devices: []device{{away: spans{{time.Hour, 2 * time.Hour}}}}}
	var arrivals []arrival
	for i := range 5 {
		arrivals = append(arrivals, arrival{at: time.Hour + time.Duration(i+1)*time.Minute})
	}
	got := alone(t, scenario{}, d, [][]arrival{arrivals})
	require.Equal(t, Cost{
		Devices: 1, Wakeups: 1, Fetches: 1, Bytes: pushBytes + coldFetchBytes + 5*envelopeBytes, Sounded: 5,
		Radio: promotion + fetchTime + tail,
	}, got)
	got = alone(t, scenario{ladder: true}, d, [][]arrival{arrivals})
	require.EqualValues(t, 2, got.Wakeups)
	require.EqualValues(t, 1, got.Fetches)
	base, _ := d.baseline([][]arrival{arrivals})
	require.EqualValues(t, 5, base.Wakeups)
	require.Equal(t, promotion+fetchTime+tail, base.Radio)
}

// What is read on one device before the other is reached does not wake that one, and what
// it shows is taken away.
func TestReadOnTheOther(t *testing.T) {
	looks := spans{{2 * time.Hour, 2*time.Hour + time.Minute}}
	pair := func(away spans) *district {
		return &district{people: []person{{first: 0, second: 1}}, devices: []device{{looks: looks}, {away: away}}}
	}
	both := [][]arrival{{{at: time.Hour}}, {{at: time.Hour}}}
	s := scenario{pairs: true, dismisses: true}
	got := alone(t, s, pair(spans{{time.Hour - time.Minute, 3 * time.Hour}}), both)
	require.EqualValues(t, 3, got.Wakeups, "the service keeps the one it was given, and the dismissal")
	require.EqualValues(t, 1, got.Fetches)
	got = alone(t, s, pair(nil), both)
	require.EqualValues(t, 3, got.Wakeups, "each is woken, and one dismissal follows")
	require.EqualValues(t, 2, got.Fetches)
	require.EqualValues(t, 2*pushBytes+2*(coldFetchBytes+envelopeBytes)+askBytes+pushBytes, got.Bytes)
}

// The index finds the devices that the scenario registers: none for a muted chat, in a group
// only those of the member who is mentioned, and never the author's.
func TestMatch(t *testing.T) {
	group, mention := whisper.Topic{1}, [3]whisper.Topic{{2}, {3}, {4}}
	d := &district{}
	for i := range 3 {
		d.people = append(d.people, person{first: i, second: -1, chats: []chat{{topic: group, mention: mention[i], group: true, muted: i == 2}}})
		d.devices = append(d.devices, device{owner: i})
	}
	d.messages = []message{{at: 1, topic: group, author: 0, names: true, mention: mention[1]}}
	count := func(l listening) (n []int) {
		for _, a := range d.match(l) {
			n = append(n, len(a))
		}
		return n
	}
	require.Equal(t, []int{0, 1, 1}, count(toAll))
	require.Equal(t, []int{0, 1, 0}, count(toUnmuted))
	require.Equal(t, []int{0, 1, 0}, count(toMentions))
}

// A device that is flooded is woken within its budget, and misses nothing.
func TestFlood(t *testing.T) {
	d := &district{people: []person{{first: 0, second: -1}}, devices: []device{{}}}
	var arrivals []arrival
	for i := range 3600 {
		arrivals = append(arrivals, arrival{at: time.Duration(i) * time.Second})
	}
	got := alone(t, scenario{}, d, [][]arrival{arrivals})
	require.InDelta(t, 20+360, got.Wakeups, 2)
	require.EqualValues(t, 3600, got.Sounded)
}
