package pushserver

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReasonsAreBounded(t *testing.T) {
	var r reasons
	require.Equal(t, "fetch", r.label("fetch"))
	for i := range 10 * maxReasons {
		r.label(fmt.Sprint("reason ", i))
	}
	require.Len(t, r.seen, maxReasons)
	require.Equal(t, "other", r.label("one more"))
	require.Equal(t, "fetch", r.label("fetch"))
	require.Equal(t, "other", new(reasons).label(fmt.Sprintf("%065d", 1)), "too long")
}
