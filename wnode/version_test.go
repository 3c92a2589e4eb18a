package wnode

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionOf(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "117cf42aaaaaaaaaaaaa"}
	dirty := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for want, info := range map[string]debug.BuildInfo{
		"0.1.0":                {},
		"0.1.0-117cf42a":       {Settings: []debug.BuildSetting{revision}},
		"0.1.0-117cf42a-dirty": {Settings: []debug.BuildSetting{dirty, revision}},
		"0.1.0-1.2.3":          {Main: debug.Module{Version: "v1.2.3"}},
	} {
		require.Equal(t, want, versionOf(&info))
	}
	require.Equal(t, "0.1.0", versionOf(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}))
}
