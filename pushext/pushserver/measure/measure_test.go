package measure

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReasonsAreBounded(t *testing.T) {
	var r Reasons
	require.Equal(t, "fetch", r.Label("fetch"))
	for i := range 10 * maxReasons {
		r.Label(fmt.Sprint("reason ", i))
	}
	require.Len(t, r.seen, maxReasons)
	require.Equal(t, "other", r.Label("one more"))
	require.Equal(t, "fetch", r.Label("fetch"))
	require.Equal(t, "other", new(Reasons).Label(fmt.Sprintf("%065d", 1)), "too long")
}
