package genuinenode_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinenode"
)

func TestBuildTwice(t *testing.T) {
	ctx := limited(t)
	first, err := genuinenode.Build(ctx)
	require.NoError(t, err)
	second, err := genuinenode.Build(ctx)
	require.NoError(t, err)
	require.Equal(t, first, second)
}

func TestBuildWnode(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for a minute if it is not cached")
	}
	ctx := limited(t)
	exe, err := genuinenode.BuildWnode(ctx)
	require.NoError(t, err)
	out, err := exec.CommandContext(ctx, exe, "-help").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "-mailserver")
}
