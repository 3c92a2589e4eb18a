package client

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushwire"
)

// Capability is what another person gave to the user, in private, so that the user may ring
// them. With it, a server rings that person's devices for an envelope on a topic that those
// devices do not register.
type Capability struct {
	Handle [pushwire.HandleSize]byte // their registration
	Holder string                    // their name for the user
	Secret [pushwire.ProofSize]byte  // pushwire.Capability of their root and the holder
}

// Notify rings a person who is registered with this device's mailserver for an envelope, with
// the capability that they gave. Nobody can tell whether they were rung. The request is
// signed by a key made for it alone. It goes over a link of its own, unless the server is
// reached by its door, so nothing in it tells the server who rings.
func (d *Device) Notify(ctx context.Context, by Capability, hash common.Hash, kind pushwire.NotifyKind) error {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	name := d.PushKey()
	stranger, err := Open(ctx, Config{Server: d.address, PushKey: name, Logger: d.logger})
	if err != nil {
		return err
	}
	defer stranger.Close()
	stranger.server = d.server // including the connections to a door
	pushKey, err := hex.DecodeString(name)
	if err != nil {
		return err
	}
	asking, asked, err := stranger.begin(ctx)
	if err != nil {
		return err
	}
	defer asked()
	x, err := stranger.ask(asking, pushwire.NewNotify(by.Secret, by.Handle, by.Holder, hash, kind, [pushwire.PushKeySize]byte(pushKey)))
	if err != nil {
		return err
	}
	if err := x.reply.Error(); err != nil {
		return fmt.Errorf("client: notify: %w", err)
	}
	return nil
}
