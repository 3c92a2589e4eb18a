package wnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/urfave/cli/v2"

	"whisperpush/pushext/client"
)

// line is one line of a device's output with --json.
type line struct {
	Event  string    `json:"event"` // message, dismissed, missing
	Hash   string    `json:"hash"`
	Chat   string    `json:"chat,omitempty"`
	Sender string    `json:"sender,omitempty"` // public key of the signer
	Text   string    `json:"text,omitempty"`
	Sent   time.Time `json:"sent,omitzero"`
	Link   string    `json:"link,omitempty"`
}

// showAll prints an event, which may come with an error, and everything else that is waiting. Then it reports them as
// shown: what could not be printed comes again.
func showAll(ctx context.Context, c *cli.Context, device *client.Device, event client.Event, err error) error {
	for {
		if err := printEvent(c, event); err != nil {
			return err
		}
		if err := errors.Join(err, device.Shown(ctx, event.Hashes()...)); err != nil || !event.More {
			return err
		}
		event, err = device.History(ctx)
	}
}

// printEvent prints what a push brought, one line each.
func printEvent(c *cli.Context, event client.Event) error {
	var lines []line
	for _, p := range event.Previews {
		l := line{Event: "message", Hash: p.Hash.Hex(), Chat: p.Chat, Text: p.Text, Sent: p.Sent, Link: p.Link()}
		if p.Sender != nil {
			l.Sender = hexutil.Encode(crypto.FromECDSAPub(p.Sender))
		}
		lines = append(lines, l)
	}
	for _, hash := range event.Dismissed {
		lines = append(lines, line{Event: "dismissed", Hash: hash.Hex()})
	}
	for _, hash := range event.Missing {
		lines = append(lines, line{Event: "missing", Hash: hash.Hex()})
	}
	for _, l := range lines {
		if err := l.print(c.App.Writer, c.Bool("json")); err != nil {
			return err
		}
	}
	return nil
}

func (l line) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(l)
	}
	var err error
	switch {
	case l.Event != "message":
		_, err = fmt.Fprintf(w, "%s %s\n", l.Event, l.Hash)
	case l.Sender == "":
		_, err = fmt.Fprintf(w, "%s  %s: %s  %s\n", l.Sent.Format(time.DateTime), l.Chat, l.Text, l.Link)
	default:
		_, err = fmt.Fprintf(w, "%s  %s, %s…: %s  %s\n", l.Sent.Format(time.DateTime), l.Chat, l.Sender[:12], l.Text, l.Link)
	}
	return err
}
