package pushserver

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
)

// ErrRotating means that an exchange of the disk key is not complete.
var ErrRotating = vault.ErrRotating

// resealPause is how long the sealing anew waits when it fails, for the disk.
const resealPause = 5 * time.Second

// RotateDiskKey exchanges the disk key of a server that runs. When it returns nil the database opens with the new key alone,
// so that key must be on disk before, and the records are sealed anew in the background; see Rotating. The error wraps
// ErrRotating or ErrDiskKey, or is the disk's, and nothing has changed then.
func (x *Server) RotateDiskKey(former, diskKey []byte) error {
	if x.cancel == nil {
		return errors.New("the push server does not run")
	}
	if err := x.store.Rotate(former, diskKey); err != nil {
		return err
	}
	x.log.Info("the disk key is exchanged; registrations are sealed anew")
	select {
	case x.rotated <- struct{}{}:
	default:
	}
	return nil
}

// SetKeys has requests that come from now on be answered with other push keys. Registrations are
// kept by the keys of devices, so none is lost by it.
func (x *Server) SetKeys(k Keys) { x.protocol.SetKeys(k) }

// HeardWith counts the registrations that there are, and those of them whose device asked for
// something with a push key that was not the server's first. It reads all of them.
func (x *Server) HeardWith(ctx context.Context, pushKey *ecdsa.PublicKey) (heard, all int, err error) {
	return x.registry.CountHeard(ctx, registry.KeyMarkOf([33]byte(crypto.CompressPubkey(pushKey))))
}

// Rotating reports whether there are records that are sealed with a former disk key.
func (x *Server) Rotating() bool { return x.store.Rotating() }

// reseal seals anew what is sealed with a former key, each time the disk key was exchanged, until ctx ends.
func (x *Server) reseal(ctx context.Context) {
	for {
		for x.store.Rotating() {
			err := x.resealAll(ctx)
			if err == nil {
				x.log.Info("all registrations are sealed with the new disk key")
				break
			}
			if ctx.Err() != nil {
				return
			}
			x.log.Error("registrations cannot be sealed anew; trying again", "err", err)
			pause := time.NewTimer(resealPause)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-x.rotated:
		}
	}
}

// resealAll goes through the records until a pass finds none that is sealed with a former key: what was being written when
// the key was exchanged may be.
func (x *Server) resealAll(ctx context.Context) error {
	for {
		registrations, err := x.registry.Reseal(ctx)
		if err != nil {
			return fmt.Errorf("seal registrations anew: %w", err)
		}
		chains, err := x.outbox.Reseal(ctx)
		if err != nil {
			return fmt.Errorf("seal chains anew: %w", err)
		}
		if registrations+chains == 0 {
			return x.store.Rotated()
		}
	}
}
