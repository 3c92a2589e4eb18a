package direct

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/providertest"
)

// TestVerdicts is everything that may happen to a ring. There is no service that
// could ask for a pause or call an address dead: a device that is not there is
// Absent, which is nobody's fault.
func TestVerdicts(t *testing.T) {
	const never = time.Hour
	for name, row := range map[string]struct {
		fault    providertest.Fault // of the link, when it is rung
		unknown  bool               // no link of this device was ever heard of
		deadline time.Duration      // of the attempt
		cancel   time.Duration      // of the attempt
		class    pushext.Class
		reason   string
		took     time.Duration
		forgets  bool // the link is not tried again
	}{
		"taken":                       {deadline: never, class: pushext.Delivered},
		"no link":                     {unknown: true, deadline: never, class: pushext.Absent, reason: "direct not connected"},
		"the link is down":            {fault: providertest.Unavailable, deadline: never, class: pushext.Absent, reason: "direct not connected", forgets: true},
		"the link breaks":             {fault: providertest.Reset, deadline: never, class: pushext.Absent, reason: "direct link broke", forgets: true},
		"the device does not read":    {fault: providertest.Hang, deadline: never, class: pushext.Absent, reason: "direct link broke", took: DefaultTimeout, forgets: true},
		"the attempt's time is over":  {fault: providertest.Hang, deadline: time.Second, class: pushext.Retry, reason: "direct timeout", took: time.Second},
		"the server stops meanwhile":  {fault: providertest.Hang, deadline: never, cancel: time.Second, class: pushext.Retry, reason: "direct timeout", took: time.Second},
		"the server stopped before":   {deadline: -1, class: pushext.Retry, reason: "direct cancelled"},
		"stopped, and the link broke": {fault: providertest.Reset, deadline: -1, class: pushext.Retry, reason: "direct cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDevices(t, Config{})
				addr := d.Device()
				if row.unknown {
					d.p.forget(addr.Token, d.links[addr.Token])
				} else {
					d.Script(addr, row.fault, 0)
				}
				ctx, cancel := context.WithTimeout(t.Context(), row.deadline)
				defer cancel()
				if row.cancel > 0 {
					time.AfterFunc(row.cancel, cancel)
				}
				start := time.Now()
				v := d.p.Push(ctx, pushext.Notification{Address: addr, Body: []byte(`{}`)})
				require.Equal(t, pushext.Verdict{Class: row.class, Reason: row.reason}, v)
				require.Equal(t, row.took, time.Since(start))
				require.Equal(t, row.unknown || row.forgets, d.p.links[addr.Token] == nil)
				require.Equal(t, row.class == pushext.Delivered, len(d.Received(addr)) == 1)

				d.Script(addr, providertest.None, 0) // it connects again
				require.Equal(t, pushext.Delivered, d.p.Push(t.Context(), pushext.Notification{Address: addr}).Class)
			})
		})
	}
}
