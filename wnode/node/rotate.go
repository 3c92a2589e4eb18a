package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver"
)

// nextSuffix is of the file with the disk key that is about to take the place of the one that there is. The database opens
// with one of the two, whatever interrupts an exchange.
const nextSuffix = ".next"

// openPush opens the push server with its disk key. If an exchange of the key was interrupted, the file of the key that the
// database is sealed with gets its name.
func openPush(settings pushserver.Config, file KeyFile) (*pushserver.Server, error) {
	next := KeyFile{What: file.What, setting: file.setting, named: file.Path() + nextSuffix}
	secret, nextErr := next.Read()
	server, err := pushserver.New(settings)
	switch {
	case err == nil && !errors.Is(nextErr, fs.ErrNotExist):
		os.Remove(next.Path()) // the exchange had not begun
	case errors.Is(err, pushserver.ErrDiskKey) && nextErr == nil:
		settings.DiskKey = secret
		if server, err = pushserver.New(settings); err == nil {
			err = adopt(next.Path(), file.Path())
		}
	}
	return server, err
}

// adopt gives a file its name, durably.
func adopt(next, path string) error {
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("the new key in %s cannot be renamed to %s: %w; do that by hand", next, path, cause(err))
	}
	return durable.SyncDir(filepath.Dir(path))
}

// KeyReport is what an operator is told of a key. No secret is in it.
type KeyReport struct {
	Name   string `json:"name"` // "node", "push" or "disk"
	File   string `json:"file"`
	Public string `json:"public,omitempty"` // its public half
	State  string `json:"state"`            // "in use", or "in use; records are sealed anew" while the disk key is exchanged
}

// Keys tells about the node's keys.
func (a *Admin) Keys(context.Context) ([]KeyReport, error) {
	cfg := a.node.settings()
	reports := []KeyReport{{Name: "node", File: NodeKeyFile(cfg).Path(), Public: hexutil.Encode(crypto.FromECDSAPub(a.node.link.Self().Pubkey())), State: keyInUse}}
	if cfg.Node.KeyHex != "" {
		reports[0].File = ""
	}
	if a.node.push == nil {
		return reports, nil
	}
	disk := KeyReport{Name: "disk", File: DiskKeyFile(cfg).Path(), State: keyInUse}
	if server, ok := a.node.push.(*pushserver.Server); ok && server.Rotating() {
		disk.State = resealing
	}
	return append(reports, KeyReport{Name: "push", File: PushKeyFile(cfg).Path(), Public: hexutil.Encode(crypto.FromECDSAPub(a.node.PushKey())), State: keyInUse}, disk), nil
}

const (
	// keyInUse is the state of a key that there is.
	keyInUse = "in use"
	// resealing is that of the disk key while it is exchanged.
	resealing = "in use; records are sealed anew"
)

// RotateDiskKey exchanges the key that registrations are sealed with. When it returns, the new key is in the file of the
// former one, and the registrations are sealed anew in the background; see Keys.
func (a *Admin) RotateDiskKey(context.Context) (KeyReport, error) {
	n := a.node
	n.reloading.Lock() // which reads the file too
	defer n.reloading.Unlock()
	server, ok := n.push.(*pushserver.Server)
	switch {
	case n.push == nil:
		return KeyReport{}, errPushOff
	case !ok:
		return KeyReport{}, errors.New("nodes that share registrations have one disk key, which is not exchanged while they run")
	case server.Rotating():
		return KeyReport{}, fmt.Errorf("%w; wait until wnode keys says that it is in use", pushserver.ErrRotating)
	}
	file := DiskKeyFile(n.settings())
	former, err := file.Read()
	if err != nil {
		return KeyReport{}, err
	}
	secret, err := file.generate()
	if err != nil {
		return KeyReport{}, err
	}
	next := file.Path() + nextSuffix
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return KeyReport{}, fmt.Errorf("%s is in the way: %w", next, cause(err))
	}
	if err := writeSecret(next, secret); err != nil {
		return KeyReport{}, fmt.Errorf("a new disk key cannot be written to %s: %w", next, cause(err))
	}
	if err := server.RotateDiskKey(former, secret); err != nil {
		if errors.Is(err, pushserver.ErrDiskKey) || errors.Is(err, pushserver.ErrRotating) { // otherwise it may be on disk: the next start finds out
			os.Remove(next)
		}
		return KeyReport{}, fmt.Errorf("the disk key is not exchanged: %w", err)
	}
	if err := adopt(next, file.Path()); err != nil {
		return KeyReport{}, err
	}
	n.noteSecret(file.Path())
	return KeyReport{Name: "disk", File: file.Path(), State: resealing}, nil
}
