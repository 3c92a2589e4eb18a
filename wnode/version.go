package wnode

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// version is the release and, when the build knew it, the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return versionOf(info)
}

// versionOf is the release and what the build says of its source: the commit, with "-dirty" if files were changed
// since, or the module's version where it was installed as one.
func versionOf(info *debug.BuildInfo) string {
	const release = "0.1.0"
	text, dirty := release, ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision" && len(setting.Value) >= 8:
			text = release + "-" + setting.Value[:8]
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	if text == release {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			return release + "-" + strings.TrimPrefix(v, "v")
		}
		return release
	}
	return text + dirty
}

// clientName is what peers and web3_clientVersion see, in the form geth gives its own.
func clientName() string {
	return fmt.Sprintf("whisperpush/v%s/%s-%s/%s", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return printVersion(c)
		},
	}
}

func printVersion(c *cli.Context) error {
	_, err := fmt.Fprintln(c.App.Writer, clientName())
	return err
}
