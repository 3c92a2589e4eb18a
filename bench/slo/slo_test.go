package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test binary is the server under test too, when it is told so.
func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// The short form of `make slo`: every provider, every network, links that do not
// answer, an outage and a kill, in half a minute. How fast, and for how many bytes,
// is printed and not judged: that is `make slo` on a computer with nothing else to do.
func TestPromise(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: -short was given")
	}
	report, err := Run(t.Context(), Options{Messages: 300, Devices: 42, Duration: 20 * time.Second, Seed: 1, Progress: t.Output()})
	require.NoError(t, err)
	report.Print(t.Output())
	require.NoError(t, report.JudgeDelivery())
}

// A run can be made again from its seed, and holds what it is to hold.
func TestPlan(t *testing.T) {
	o := Options{Messages: 10_000, Devices: 1000, Duration: 5 * time.Minute, Seed: 1}
	providers := []string{"a", "b", "c"}
	p := newPlan(o, providers)
	require.Equal(t, p, newPlan(o, providers))
	require.Len(t, p.writes, o.Messages)
	var failing, killed, stopped int
	for i, f := range p.faults {
		switch {
		case f.provider != "":
			failing++
		case f.kill:
			killed++
		default:
			stopped++
		}
		if i > 0 {
			require.Greater(t, f.at, p.faults[i-1].at+p.faults[i-1].length, "they do not overlap")
		}
	}
	require.Equal(t, 4, failing)
	require.Equal(t, []int{1, 1}, []int{killed, stopped})
	networks, direct, partings := make(map[int]int), 0, make(map[parting]int)
	for _, phone := range p.phones {
		networks[phone.network]++
		if phone.direct {
			direct++
			partings[phone.parting]++
		}
	}
	require.Len(t, networks, 3)
	require.Equal(t, o.Devices/(len(providers)+1), direct)
	require.Len(t, partings, 3)

	o.Seed = 2
	require.NotEqual(t, p.writes, newPlan(o, providers).writes)
}

func TestQuantile(t *testing.T) {
	require.Zero(t, quantile(nil, .5))
	list := []time.Duration{1e9, 2e9, 3e9, 4e9}
	require.Equal(t, 3*time.Second, quantile(list, .5))
	require.Equal(t, 4*time.Second, quantile(list, 1))
}
