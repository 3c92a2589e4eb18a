package wnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"whisperpush/pushext/client"
)

// maxCredential bounds a credential's file, in bytes.
const maxCredential = 4096

// deviceCredential prints what another device of the user needs to revoke this one.
func deviceCredential(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(_ context.Context, _ *deviceSettings, device *client.Device) error {
		text, err := device.Credential()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.App.Writer, "%s\n", text)
		return err
	})
}

// deviceRevoke ends the registration of another device of the user, for good.
func deviceRevoke(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("give the file with what wnode device credential printed on the device that is lost")
	}
	f, err := os.Open(c.Args().First())
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCredential))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	if err := client.Revoke(ctx, text); err != nil {
		return unanswered(c, err)
	}
	_, err = fmt.Fprintln(c.App.Writer, "revoked: the mailserver does not wake that device any more")
	return err
}
