package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Nothing is kept in memory of devices and hosts that have nothing to do.
func TestIdleDevicesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hooks := &scripted{name: "webhook"}
		r := newRig(t, Delivery{}, hosted{hooks})
		one, two := r.device(1, "webhook a/1"), r.device(2, "webhook b/2")
		r.start()
		defer r.stop()
		for range 30 {
			r.log.Archive(one)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		r.log.Archive(two)
		synctest.Wait()
		r.dispatcher.mu.Lock()
		defer r.dispatcher.mu.Unlock()
		require.Len(t, r.dispatcher.jobs, 1, "the one whose budget is not full yet")
		require.Len(t, r.dispatcher.lanes, 1, "what it accepted lately is remembered")
		require.Zero(t, r.dispatcher.flying)
	})
}
