package wnode

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is the release and, when the build knew it, the commit.
func version() string {
	const release = "0.1.0"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 8 {
			return release + "-" + setting.Value[:8]
		}
	}
	return release
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
			_, err := fmt.Fprintln(c.App.Writer, clientName())
			return err
		},
	}
}
