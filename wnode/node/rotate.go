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

// nextSuffix is the suffix of the file with the disk key that is about to replace the current one. The database opens
// with one of the two, wherever an exchange is interrupted.
const nextSuffix = ".next"

// openPush opens the push server with its disk key. If an exchange of the key was interrupted, it renames the file of
// the key that the database is sealed with to that of the disk key.
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

// adopt renames the file next to path, durably.
func adopt(next, path string) error {
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("the new key in %s cannot be renamed to %s: %w; do that by hand", next, path, cause(err))
	}
	return durable.SyncDir(filepath.Dir(path))
}

// KeyReport is what an operator is told about a key. It has no secret.
type KeyReport struct {
	Name   string `json:"name"` // "node", "push" or "disk"
	File   string `json:"file"`
	Public string `json:"public,omitempty"` // its public half
	State  string `json:"state"`            // "in use", or "in use; records are sealed anew" during an exchange of the disk key
}

// Keys describes the node's keys.
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
	// keyInUse is the state of a key in use.
	keyInUse = "in use"
	// resealing is the state of the disk key during an exchange.
	resealing = "in use; records are sealed anew"
)

// RotateDiskKey exchanges the key that seals registrations. When it returns, the file of the former key has the new key.
// The registrations are then sealed again in the background; see Keys.
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
