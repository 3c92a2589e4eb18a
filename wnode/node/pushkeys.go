package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/cluster"
	"whisperpush/config"
	"whisperpush/durable"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
)

// formerSuffix is the suffix of the file beside the push key that has the keys before it. An exchange takes effect when
// that file gets the key that was in use until then. The file of the next key, with nextSuffix, is renamed to the push
// key after that: at once, or at the next start.
const formerSuffix = ".former"

// formerKeys is the file with the former push keys: a record of the keys without those in use.
type formerKeys struct{ pushserver.KeyRecord }

// FormerPushKeysPath is the file with the push keys before the one in use, if there were any.
func FormerPushKeysPath(cfg config.Config) string { return PushKeyFile(cfg).Path() + formerSuffix }

// nextPushKeyFile is the file of a push key that is about to replace the current one.
func nextPushKeyFile(file KeyFile) KeyFile {
	return KeyFile{What: "next push key", setting: file.setting, named: file.Path() + nextSuffix, curve: true}
}

// loadPushKeys reads the push keys, makes the first one at the first start, and completes an interrupted exchange.
func loadPushKeys(cfg config.Config) (pushserver.Keys, error) {
	file := PushKeyFile(cfg)
	list, err := readFormerKeys(FormerPushKeysPath(cfg))
	if err != nil {
		return pushserver.Keys{}, err
	}
	next := nextPushKeyFile(file)
	secret, err := next.Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return pushserver.Keys{}, err
	case list.leadsTo(secret):
		if err := adoptPushKey(next.Path(), file.Path()); err != nil {
			return pushserver.Keys{}, err
		}
	default:
		os.Remove(next.Path()) // the exchange had not begun
	}
	if secret, _, err = file.Load(); err != nil {
		return pushserver.Keys{}, err
	}
	if len(list.Former) > 0 && !list.leadsTo(secret) {
		return pushserver.Keys{}, fmt.Errorf("the push key in %s is not the one behind those in %s; put the right one there, or move %s away if the keys in it were never this server's",
			file.Path(), FormerPushKeysPath(cfg), FormerPushKeysPath(cfg))
	}
	return list.keys(secret)
}

// leadsTo reports whether a secret is the key that follows the last of them.
func (l formerKeys) leadsTo(secret []byte) bool {
	key, err := crypto.ToECDSA(secret)
	return err == nil && l.LeadsTo(key)
}

// keys returns the push keys, with secret as the one in use.
func (l formerKeys) keys(secret []byte) (pushserver.Keys, error) {
	l.Current = hex.EncodeToString(secret)
	return l.Keys()
}

// formerOf is what the file must hold while keys are in use.
func formerOf(keys pushserver.Keys) (l formerKeys, err error) {
	l.KeyRecord, err = keys.Record()
	l.Current, l.Next = "", ""
	return l, err
}

// readFormerKeys reads the file with the former push keys; a missing file is not an error.
func readFormerKeys(path string) (l formerKeys, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err == nil {
		_, err = l.keys(bytes.Repeat([]byte{1}, secretSize))
	}
	if err != nil {
		return formerKeys{}, fmt.Errorf("the former push keys in %s cannot be read: %w; put the right file there", path, cause(err))
	}
	return l, nil
}

// write replaces the file with the former push keys, durably.
func (l formerKeys) write(path string) error {
	text, err := json.MarshalIndent(l, "", "\t")
	if err == nil {
		err = durable.ReplaceFile(path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("the former push keys cannot be written to %s: %w", path, cause(err))
	}
	return nil
}

// PushKeyReport is what an operator is told about the push keys. It has no secret, and nothing that distinguishes one
// registration from another.
type PushKeyReport struct {
	File   string    `json:"file"`
	Public string    `json:"public"`          // the key in use
	Former string    `json:"former"`          // the key before it; empty: there was none
	Until  time.Time `json:"until,omitzero"`  // when its overlap ends, or ended
	State  string    `json:"state"`           // "in use", "overlap", "over", or "ended": at once, because others may know the former key
	Moved  int       `json:"moved,omitempty"` // registrations whose devices use the key in use
	All    int       `json:"all,omitempty"`   // registrations
}

// States of a PushKeyReport.
const (
	PushKeyOverlap = "overlap"
	PushKeyOver    = "over"
	PushKeyEnded   = "ended"
)

// PushKey describes the push key, and counts the registrations that use it. It reads all of them.
func (a *Admin) PushKey(ctx context.Context) (PushKeyReport, error) {
	n := a.node
	if n.push == nil {
		return PushKeyReport{}, errPushOff
	}
	keys := *n.pushKeys.Load()
	report := PushKeyReport{File: PushKeyFile(n.settings()).Path(), Public: hexutil.Encode(crypto.FromECDSAPub(&keys.Current.PublicKey)), State: keyInUse}
	if len(keys.Former) == 0 {
		return report, nil
	}
	last := keys.Former[len(keys.Former)-1]
	report.Former, report.Until, report.State = hexutil.Encode(crypto.FromECDSAPub(&last.Key.PublicKey)), last.Until, PushKeyOver
	if _, overlap := keys.Overlap(time.Now()); overlap {
		report.State = PushKeyOverlap
	} else if last.Succession == nil {
		report.State = PushKeyEnded
	}
	var err error
	report.Moved, report.All, err = n.push.HeardWith(ctx, &keys.Current.PublicKey)
	return report, err
}

// RotatePushKey makes a new push key. When it returns, the file of the push key has the new key. The former key is still
// answered to for Push.KeyOverlap. With now set it is not, and nothing signed by it leads to the new key, because others
// may know it. During an overlap, now ends the overlap and makes no key. When it returns, all nodes that share the
// registrations have taken the key.
func (a *Admin) RotatePushKey(ctx context.Context, now bool) (PushKeyReport, error) {
	n := a.node
	n.reloading.Lock() // which reads the file too
	defer n.reloading.Unlock()
	cfg := n.settings()
	overlap := time.Duration(cfg.Push.KeyOverlap)
	if now {
		overlap = 0
	}
	var err error
	switch server := n.push.(type) {
	case nil:
		err = errPushOff
	case *sharedPush:
		err = n.rotateShared(ctx, server, overlap)
	case *pushserver.Server:
		err = n.rotateOwn(server, overlap)
	}
	if err != nil {
		return PushKeyReport{}, err
	}
	report, err := a.PushKey(ctx)
	if err != nil {
		err = fmt.Errorf("the push key is exchanged; how far devices are, wnode keys tells: %w", err)
	}
	return report, err
}

// errOverlap says that the next push key cannot be made yet.
func errOverlap(until time.Time) error {
	return fmt.Errorf("the former push key is answered to until %s, and the next is made after that; --now ends it at once", until.UTC().Format(time.DateOnly))
}

// rotateOwn is RotatePushKey for registrations of this node alone.
func (n *Node) rotateOwn(server *pushserver.Server, overlap time.Duration) error {
	keys, at := *n.pushKeys.Load(), time.Now()
	until, overlaps := keys.Overlap(at)
	switch {
	case overlaps && overlap > 0:
		return errOverlap(until)
	case overlaps:
		keys = keys.EndOverlap(at)
	default:
		next, err := crypto.GenerateKey()
		if err == nil {
			keys, err = keys.Succeed(next, at, overlap)
		}
		if err != nil {
			return fmt.Errorf("make the next push key: %w", err)
		}
	}
	if err := n.keepPushKeys(keys); err != nil {
		return err
	}
	n.pushKeys.Store(&keys)
	server.SetKeys(keys)
	return nil
}

// rotateShared is RotatePushKey for registrations that nodes share.
func (n *Node) rotateShared(ctx context.Context, server *sharedPush, overlap time.Duration) error {
	err := server.RotatePushKey(ctx, overlap)
	if until, ok := errors.AsType[*cluster.OverlapError](err); ok {
		return errOverlap(until.Until)
	}
	if keys := server.Keys(); !keys.Current.Equal(n.pushKeys.Load().Current) || err == nil {
		n.takePushKeys(keys) // even if not all nodes have them yet
	}
	return err
}

// pushKeysTaken adopts push keys that the nodes sharing the registrations have taken.
func (n *Node) pushKeysTaken(keys pushserver.Keys) {
	n.reloading.Lock() // which reads the file too
	defer n.reloading.Unlock()
	n.takePushKeys(keys)
}

// takePushKeys makes everything that signs or opens use push keys that are in the database, and writes them to this
// node's files. Files that were not written are good enough to start with until three more exchanges, as the database
// keeps that many former keys, so a directory that cannot be written is not an error. The caller holds reloading.
func (n *Node) takePushKeys(keys pushserver.Keys) {
	before := n.pushKeys.Swap(&keys)
	if err := n.keepPushKeys(keys); err != nil {
		n.log.Warn("the push keys that the nodes share cannot be written down here; they are in the database", "err", err)
	}
	if before != nil && !before.Current.Equal(keys.Current) {
		n.log.Info("the nodes that share the registrations go on with another push key")
	}
}

// keepPushKeys writes push keys to their files, unless they are there. The file with the former keys decides: before it
// is written the old keys are valid, and after that the new ones, whatever is interrupted.
func (n *Node) keepPushKeys(keys pushserver.Keys) error {
	cfg := n.settings()
	file, path := PushKeyFile(cfg), FormerPushKeysPath(cfg)
	list, err := formerOf(keys)
	if err != nil {
		return err
	}
	secret := crypto.FromECDSA(keys.Current)
	if there, err := file.Read(); err == nil && bytes.Equal(there, secret) {
		if known, err := readFormerKeys(path); err == nil && (len(known.Former)+len(list.Former) == 0 || reflect.DeepEqual(known, list)) {
			return nil
		}
		return list.write(path)
	}
	next := nextPushKeyFile(file)
	if err := os.Remove(next.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is in the way: %w", next.Path(), cause(err))
	}
	if err := writeSecret(next.Path(), secret); err != nil {
		return fmt.Errorf("the next push key cannot be written to %s: %w", next.Path(), cause(err))
	}
	if err := list.write(path); err != nil {
		return err // it may be on disk anyway: the next start finds out
	}
	if err := adoptPushKey(next.Path(), file.Path()); err != nil {
		return err
	}
	n.noteSecret(file.Path())
	return nil
}

// adoptPushKey renames the file of the next key to that of the push key, durably.
func adoptPushKey(next, path string) error {
	if err := adopt(next, path); err != nil {
		return fmt.Errorf("the push key: %w", err)
	}
	return nil
}

// noteSecret updates what is remembered of a file that is read once.
func (n *Node) noteSecret(path string) {
	for i, known := range n.secrets {
		if known.file.Path == path {
			if text, err := os.ReadFile(path); err == nil {
				n.secrets[i].sum = sha256.Sum256(text)
			}
		}
	}
}

// announcedKey is the key that signs offers and answers to mail requests: during an overlap the former one, which devices
// that have moved on know as well.
func (n *Node) announcedKey() (*ecdsa.PrivateKey, []pushwire.Succession) {
	return n.pushKeys.Load().Announced(time.Now())
}
