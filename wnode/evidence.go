package wnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/evidence"
	"whisperpush/whisper"
)

func evidenceCommand() *cli.Command {
	return &cli.Command{
		Name: "evidence", Usage: "verify a file that convicts a mailserver of having withheld a wake-up", ArgsUsage: "FILE",
		Description: "The file is what wnode device evidence prints. Nothing but the file is needed, and nobody is asked. What it proves, and what\n" +
			"it shows of the device, is in docs/privacy.md. Compare the push key with the one that the mailserver prints when it starts,\n" +
			"or with its offer: that it is theirs, the file does not prove.",
		Action: verifyEvidence,
	}
}

func verifyEvidence(c *cli.Context) error {
	name, err := oneArgument(c, "FILE")
	if err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := io.ReadAll(io.LimitReader(f, evidence.MaxSize+1))
	if err != nil {
		return err
	}
	shown, err := evidence.Decode(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := shown.Verify(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	envelope, err := whisper.DecodeEnvelope(shown.Envelope)
	if err != nil {
		return err // cannot happen: Verify has decoded it
	}
	at := func(ms uint64) string { return time.UnixMilli(int64(ms)).UTC().Format(time.DateTime) }
	_, err = fmt.Fprintf(c.App.Writer, "convicted: the mailserver with the push key %s\n"+
		"envelope:  %s, topic %s\n"+
		"archived:  by the server's word of %s\n"+
		"denied:    by the server's word of %s, that all it owed the device was %d other envelopes\n",
		shown.PushKey, envelope.Hash(), envelope.Topic, at(shown.Page.At), at(shown.After.At), len(shown.Hashes))
	return err
}

// deviceEvidence prints the evidence that convicts the device's mailserver.
func deviceEvidence(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(_ context.Context, _ *deviceSettings, device *client.Device) error {
		found := device.Evidence()
		if found == nil {
			return errors.New("there is no evidence that the mailserver withheld a wake-up; that proves nothing")
		}
		file, err := found.Encode()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.App.Writer, "%s\n", file)
		return err
	})
}
