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

// resealPause is how long resealing pauses after a failure of the disk.
const resealPause = 5 * time.Second

// RotateDiskKey exchanges the disk key of a running server. When it returns nil, the database opens with the new key only,
// so that key must be on disk before the call. The records are resealed in the background; see Rotating. The error wraps
// ErrRotating or ErrDiskKey, or comes from the disk; then nothing has changed.
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

// SetKeys makes the server answer requests with other push keys from now on. Registrations are
// stored under the keys of devices, so none is lost by it.
func (x *Server) SetKeys(k Keys) { x.protocol.SetKeys(k) }

// HeardWith returns how many registrations there are, and for how many of them the device has
// asked for something with pushKey, which must not be the server's first. It reads all of
// them.
func (x *Server) HeardWith(ctx context.Context, pushKey *ecdsa.PublicKey) (heard, all int, err error) {
	return x.registry.CountHeard(ctx, registry.KeyMarkOf([33]byte(crypto.CompressPubkey(pushKey))))
}

// Rotating reports whether some records are still sealed with a former disk key.
func (x *Server) Rotating() bool { return x.store.Rotating() }

// reseal seals records again that are sealed with a former key, after each exchange of the disk key, until ctx ends.
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

// resealAll repeats its pass through the records until one finds none that is sealed with a former key: records that were
// being written while the key was exchanged may be.
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
