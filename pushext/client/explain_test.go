package client

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// Every state, and every one of a route, has its own sentence, which says what to do.
func TestExplain(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	far := uint64(now.Add(30 * 24 * time.Hour).Unix())
	status := func(state pushwire.State, reason string, expires uint64, routes ...pushwire.RouteStatus) *Status {
		return &Status{State: state, Reason: reason, StatusReply: pushwire.StatusReply{Expires: expires, Routes: routes}}
	}
	route := func(state pushwire.State, reason string, doubt uint64) pushwire.RouteStatus {
		return pushwire.RouteStatus{Provider: "fcm", State: state, Reason: reason, Doubt: doubt}
	}
	all := map[string]bool{}
	for _, c := range []struct {
		status *Status
		says   []string // in each line
	}{
		{status(pushwire.None, "", 0), []string{"not registered"}},
		{status(pushwire.Expired, "", 0), []string{"not renewed"}},
		{status(pushwire.Terminated, "", 0), []string{"ended by this device"}},
		{status(pushwire.Waiting, "", far, route(pushwire.Waiting, "", 0)), []string{"challenge", "not in use before"}},
		{status(pushwire.Dead, "fcm 404 UNREGISTERED", far, route(pushwire.Dead, "fcm 404", 0)), []string{"fcm 404 UNREGISTERED", "given up (fcm 404)"}},
		{status(pushwire.Active, "", far, route(pushwire.Active, "", 0)), []string{"wakes this device", "in use"}},
		{status(pushwire.Active, "", uint64(now.Add(time.Hour).Unix())), []string{"until"}},
		{status(pushwire.Active, "silent after too many wake-ups without a fetch", far), []string{"silent after"}},
		{status(pushwire.Active, "a wake-up failed: fcm 404", far, route(pushwire.Active, "fcm 404", 1_800_000_000)), []string{"a wake-up failed", "does not believe yet"}},
		{status(pushwire.State(99), "", far, route(pushwire.State(98), "", 0)), []string{"(99)", "(98)"}},
	} {
		lines := c.status.Explain(now)
		require.Len(t, lines, len(c.says))
		for i, line := range lines {
			require.Contains(t, line, c.says[i])
			require.NotContains(t, line, "\n")
		}
		require.False(t, all[lines[0]], "%q is said of two states", lines[0])
		all[lines[0]] = true
	}
	// A server cannot have the screen show more than a line.
	long := status(pushwire.Dead, strings.Repeat("x\n\u202e", 500), far).Explain(now)[0]
	require.NotContains(t, long, "\n")
	require.NotContains(t, long, "\u202e")
	require.Less(t, len(long), 500)
}

// How wake-ups get through is said in words: of the device, and of each route in use.
func TestExplainDelivery(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	before := func(d time.Duration) uint64 { return uint64(now.Add(-d).Unix()) }
	for _, c := range []struct {
		delivery pushwire.Delivery
		says     []string
	}{
		{pushwire.Delivery{}, []string{"has not fetched yet", "nothing waits"}},
		{pushwire.Delivery{Fetched: before(3 * time.Hour), Unread: 2}, []string{"last fetched 3 hours ago", "a push service accepted", "2 messages"}},
		{pushwire.Delivery{Fetched: before(time.Second), Unread: 2, Pending: 1}, []string{"less than a minute ago", "a message waits for a wake-up"}},
		{pushwire.Delivery{Fetched: before(100 * time.Hour), Silenced: true}, []string{"4 days ago", "open the app"}},
		{pushwire.Delivery{Routes: []pushwire.RouteDelivery{{}}}, []string{"no wake-up lately", "the next one waits"}},
		{pushwire.Delivery{Routes: []pushwire.RouteDelivery{{Accepted: before(5 * time.Minute), Budget: 3, Tested: before(0), Outcome: pushwire.TestWaiting}}}, []string{"last accepted a wake-up 5 minutes ago", "waits for the push service"}},
		{pushwire.Delivery{Routes: []pushwire.RouteDelivery{{Budget: 3, Outcome: pushwire.TestAccepted}}}, []string{"accepted the test push", "the phone's settings"}},
		{pushwire.Delivery{Routes: []pushwire.RouteDelivery{{Budget: 3, Outcome: pushwire.TestFailed, Reason: "fcm\n401"}}}, []string{"did not accept the test push", "(fcm"}},
		{pushwire.Delivery{Routes: []pushwire.RouteDelivery{{Budget: 3, Outcome: pushwire.TestHeld}}}, []string{"was not sent"}},
	} {
		s := &Status{State: pushwire.Active, StatusReply: pushwire.StatusReply{Routes: []pushwire.RouteStatus{{Provider: "fcm", State: pushwire.Active}}, Delivery: &c.delivery}}
		lines := s.Explain(now)
		require.Len(t, lines, 3)
		for _, say := range c.says {
			require.Contains(t, strings.Join(lines, " | "), say)
		}
		for _, line := range lines {
			require.NotContains(t, line, "\n")
		}
	}
}
