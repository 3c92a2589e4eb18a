package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"whisperpush/pushext/pushwire"
)

// installation is the hash of Config.Installation that is kept.
func installation(name string) string {
	if name == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("whisperpush/2 installation " + name))
	return hex.EncodeToString(sum[:8])
}

// settle starts the account over if it was copied to another installation. It reports
// whether the state has to be written.
func (s *state) settle(installed string) (changed bool, err error) {
	if installed == "" || s.Installation == installed {
		return false, nil
	}
	if s.Installation != "" {
		err = s.renew()
	}
	s.Installation = installed
	return true, err
}

// renew starts the account over, under keys that nobody else has. What the app has stays.
func (s *state) renew() error {
	fresh, err := newState(time.Now())
	if err != nil {
		return err
	}
	s.RegistrationKey, s.SealKey, s.SealPublicKey = fresh.RegistrationKey, fresh.SealKey, fresh.SealPublicKey
	s.Version, s.Active, s.Plain, s.Asked, s.Epoch, s.Seq = 0, false, false, "", 0, 0
	s.Behind = true // wake-ups of this account do not name what the twin was told
	return nil
}

// part looks whether another device has the same keys, as after a backup was restored to a
// second phone. If so, it leaves the account to that device and starts over, because
// otherwise each would take the other's wake-ups. The caller has the turn.
func (d *Device) part(ctx context.Context) error {
	d.mu.Lock()
	look := d.state.Active && !d.known.looked
	d.known.looked = true
	d.mu.Unlock()
	if look {
		if _, err := d.ask(ctx, new(pushwire.Status)); err != nil {
			return err
		}
	}
	// Another process on this device saves a version before it uses it.
	if err := d.keep.sync(ctx, &d.mu, d.state, false); err != nil {
		return err
	}
	d.mu.Lock()
	twin, revoked := d.known.version > d.state.Version, d.known.version == lastVersion
	var err error
	if twin && !revoked {
		err = d.state.renew()
		d.known.version = 0
	}
	d.mu.Unlock()
	switch {
	case revoked:
		return ErrRevoked
	case !twin:
		return nil
	}
	d.logger.Warn("another device has the keys of this one; the account is left to that, and this one begins anew")
	d.hangUp()
	if err != nil {
		return err
	}
	return d.save(ctx)
}

// lastVersion is the version of a registration that nothing can follow.
const lastVersion = math.MaxUint64

// ErrRevoked says that another of the user's devices has ended this one's registration for
// good (Revoke). An app tells its user, and lets them decide what to do.
var ErrRevoked = errors.New("client: this device was revoked by another of its user's devices")

// Credential is what another of the user's devices needs to end this one's registration if
// it is lost (Revoke). Keep it there, and give it to nobody else. It is for one server, and
// is useless once the device has started over.
func (d *Device) Credential() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text, err := json.Marshal(credential{d.address, hex.EncodeToString(d.state.current(d.keep.account)), d.state.RegistrationKey})
	if err != nil {
		return nil, fmt.Errorf("client: credential: %w", err)
	}
	return text, nil
}

// credential is the text that Credential returns.
type credential struct {
	Server  string        `json:"server"`
	PushKey string        `json:"pushKey"`
	Key     hexutil.Bytes `json:"registrationKey"`
}

var errCredential = errors.New("client: this is no credential of a device")

// Revoke ends the registration of a lost device for good. The server no longer wakes that
// device or gives it anything, and refuses registrations under its key for as long as it
// keeps the key's version, usually 30 days. Revoke takes away nothing else that the lost
// device knows: give the chats new keys, and the remaining devices another Group.
func Revoke(ctx context.Context, text []byte) error {
	var c credential
	if json.Unmarshal(text, &c) != nil {
		return errCredential
	}
	d, err := Open(ctx, Config{Server: c.Server, PushKey: c.PushKey})
	if err != nil {
		return fmt.Errorf("%w: %w", errCredential, err)
	}
	defer d.Close()
	d.mu.Lock()
	d.state.RegistrationKey = c.Key
	_, err = d.state.identity()
	d.mu.Unlock()
	if err != nil {
		return errCredential
	}
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	x, err := d.ask(ctx, &pushwire.Unregister{Version: lastVersion})
	if err != nil {
		return err
	}
	if err := x.reply.Error(); err != nil && x.reply.Code != pushwire.NotRegistered && x.reply.Code != pushwire.Stale {
		return fmt.Errorf("client: revoke: %w", err)
	}
	return nil
}
