package inbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two changes of one millisecond are two for the user's other devices.
func TestStampsDiffer(t *testing.T) {
	c := &change{model: newModel()}
	seen := make(map[stamp]bool)
	for range 100 {
		s := c.stamp(stamp{})
		require.False(t, seen[s])
		seen[s] = true
		c.model.stamps[s] = &muteRecord{Stamp: s}
	}
}
