package node

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a build knows of its source is in its version, whichever way it was built.
func TestVersion(t *testing.T) {
	commit := "117cf42a" + strings.Repeat("b", 32)
	revision := debug.BuildSetting{Key: "vcs.revision", Value: commit}
	at := debug.BuildSetting{Key: "vcs.time", Value: "2026-11-27T04:00:00Z"}
	for name, test := range map[string]struct {
		info            debug.BuildInfo
		version, commit string
	}{
		"nothing":        {debug.BuildInfo{}, "0.1.0", "not known, as the build was told of no version control"},
		"go build":       {debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "0.1.0", "not known, as the build was told of no version control"},
		"checkout":       {debug.BuildInfo{Settings: []debug.BuildSetting{revision, at, {Key: "vcs.modified", Value: "false"}}}, "0.1.0-117cf42a", commit + " of 2026-11-27T04:00:00Z"},
		"changed files":  {debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, revision}}, "0.1.0-117cf42a-dirty", commit + ", with changes since"},
		"checkout's own": {debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20261127040000-000000000000+dirty"}, Settings: []debug.BuildSetting{revision}}, "0.1.0-117cf42a", commit},
		"go install":     {debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20261127040000-117cf42abbbb"}}, "0.1.0-117cf42a", "117cf42abbbb"},
		"after a tag":    {debug.BuildInfo{Main: debug.Module{Version: "v1.2.4-0.20261127040000-117cf42abbbb"}}, "0.1.0-117cf42a", "117cf42abbbb"},
		"release":        {debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "0.1.0-v1.2.3", "that of the module's version v1.2.3"},
	} {
		s := sourceOf(&test.info)
		require.Equal(t, test.version, s.version(), name)
		require.Equal(t, test.commit, s.String(), name)
	}
}
