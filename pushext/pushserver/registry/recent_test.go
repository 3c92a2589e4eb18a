package registry

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

func TestRecentFollowsWhatChanged(t *testing.T) {
	c := newRecent()
	reg := registration.Registration{ID: 1, Version: 1, Routes: []registration.Route{{Provider: "fcm", Address: pushext.Address{Token: "token"}}}}
	_, ok, before := c.get(1)
	require.False(t, ok)
	c.keep(reg, before)
	got, ok, _ := c.get(1)
	require.True(t, ok)
	require.Equal(t, reg, got)

	c.follow([]edit{{old: &Record{Registration: reg}}}, false)
	_, ok, after := c.get(1)
	require.False(t, ok)
	require.Zero(t, c.weight)
	c.keep(reg, before) // read before the change
	_, ok, _ = c.get(1)
	require.False(t, ok, "an older reading was kept")
	c.keep(reg, after)
	c.keep(reg, after) // by another reader
	require.Equal(t, reg.Weight(), c.weight)

	// A change that is on disk is known, if the device can be woken.
	newer := reg
	newer.Version, newer.State = 2, registration.Active
	c.follow([]edit{{old: &Record{Registration: reg}, next: &Record{Registration: newer}}}, true)
	got, ok, _ = c.get(1)
	require.True(t, ok)
	require.Equal(t, newer, got)
	newer.State = registration.Waiting
	c.follow([]edit{{old: &Record{Registration: newer}, next: &Record{Registration: newer}}}, true)
	_, ok, _ = c.get(1)
	require.False(t, ok, "a stranger's")
	require.Zero(t, c.weight)
}

func TestRecentIsBounded(t *testing.T) {
	c := newRecent()
	reg := registration.Registration{Routes: []registration.Route{{Provider: "fcm", Address: pushext.Address{Token: strings.Repeat("t", 1000)}}}}
	n := 2 * maxRecent / reg.Weight()
	for i := range n {
		reg.ID = registration.ID(i + 1)
		c.keep(reg, 0)
		require.LessOrEqual(t, c.weight, maxRecent)
	}
	require.InDelta(t, n/2, c.known.Len(), 1)
	_, ok, _ := c.get(registration.ID(n))
	require.True(t, ok)
	_, ok, _ = c.get(1)
	require.False(t, ok)
}
