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
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/config"
	"whisperpush/durable"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
)

// formerSuffix is of the file beside the push key that has the keys before it. An exchange is made when that file has
// the key that is in use until then; the next key, in the file with nextSuffix, gets its name behind that, now or with
// the next start.
const formerSuffix = ".former"

// formerKeys is the file with the former push keys. It is as secret as the push key.
type formerKeys struct {
	Former []formerKey `json:"former"` // oldest first
}

// formerKey is a push key that the server had.
type formerKey struct {
	Key   string    `json:"key"`   // secret, in hexadecimal
	Next  string    `json:"next"`  // the public key behind it, compressed, in hexadecimal
	Until time.Time `json:"until"` // when its overlap ends, or ended
	// Succession is as pushwire.EncodeSuccession has it; empty: the key may be known to others.
	Succession hexutil.Bytes `json:"succession,omitempty"`
}

// FormerPushKeysPath is the file with the push keys before the one that is in use, if there were any.
func FormerPushKeysPath(cfg config.Config) string { return PushKeyFile(cfg).Path() + formerSuffix }

// nextPushKeyFile is the file of a push key that is about to take the place of the one that there is.
func nextPushKeyFile(file KeyFile) KeyFile {
	return KeyFile{What: "next push key", setting: file.setting, named: file.Path() + nextSuffix, curve: true}
}

// loadPushKeys reads the push keys, makes the first at the first start, and completes an exchange that was interrupted.
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

// leadsTo reports whether a secret is of the key behind the last of them.
func (l formerKeys) leadsTo(secret []byte) bool {
	key, err := crypto.ToECDSA(secret)
	return err == nil && len(l.Former) > 0 && l.Former[len(l.Former)-1].Next == publicHex(key)
}

func publicHex(key *ecdsa.PrivateKey) string {
	return hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey))
}

// keys are the push keys with the one in use.
func (l formerKeys) keys(secret []byte) (keys pushserver.Keys, err error) {
	if keys.Current, err = crypto.ToECDSA(secret); err != nil {
		return pushserver.Keys{}, err
	}
	for _, f := range l.Former {
		one := pushserver.FormerKey{Until: f.Until}
		if one.Key, err = crypto.HexToECDSA(f.Key); err != nil {
			return pushserver.Keys{}, errors.New("a former push key is not a secp256k1 private key")
		}
		if len(f.Succession) > 0 {
			s, err := pushwire.DecodeSuccession(f.Succession)
			if err == nil {
				err = s.Verify()
			}
			if err != nil {
				return pushserver.Keys{}, fmt.Errorf("what a former push key signed is damaged: %w", err)
			}
			one.Succession = &s
		}
		keys.Former = append(keys.Former, one)
	}
	return keys, nil
}

// readFormerKeys reads the file with the former push keys; that there is none is no error.
func readFormerKeys(path string) (l formerKeys, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err == nil && len(l.Former) > pushserver.MaxFormerKeys {
		err = fmt.Errorf("it has %d keys, at most %d", len(l.Former), pushserver.MaxFormerKeys)
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

// PushKeyReport is what an operator is told of the push keys. No secret is in it, and nothing by which a registration
// could be told from another.
type PushKeyReport struct {
	File   string    `json:"file"`
	Public string    `json:"public"`          // the key that is in use
	Former string    `json:"former"`          // the one before it; empty: there was none
	Until  time.Time `json:"until,omitzero"`  // when its overlap ends, or ended
	State  string    `json:"state"`           // "in use", "overlap", "over", or "ended": at once, as others may know the former one
	Moved  int       `json:"moved,omitempty"` // registrations whose devices go on with the key that is in use
	All    int       `json:"all,omitempty"`   // registrations
}

// States of a PushKeyReport.
const (
	PushKeyOverlap = "overlap"
	PushKeyOver    = "over"
	PushKeyEnded   = "ended"
)

// PushKey tells about the push key, and how many registrations have gone on with it. It reads all of them.
func (a *Admin) PushKey(ctx context.Context) (PushKeyReport, error) {
	n := a.node
	if n.push == nil {
		return PushKeyReport{}, errPushOff
	}
	keys := *n.pushKeys.Load()
	report := PushKeyReport{File: PushKeyFile(n.settings()).Path(), Public: hexutil.Encode(crypto.FromECDSAPub(&keys.Current.PublicKey)), State: keyInUse}
	server, ok := n.push.(*pushserver.Server)
	if len(keys.Former) == 0 || !ok {
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
	report.Moved, report.All, err = server.HeardWith(ctx, &keys.Current.PublicKey)
	return report, err
}

// RotatePushKey makes another push key. When it returns the key is in the file of the former one, which is answered to
// besides for Push.KeyOverlap. With now set it is not, and nothing that it signed leads to the new one: others may know it.
// While there is an overlap, that ends it and makes no key.
func (a *Admin) RotatePushKey(ctx context.Context, now bool) (PushKeyReport, error) {
	n := a.node
	n.reloading.Lock() // which reads the file too
	defer n.reloading.Unlock()
	if n.push == nil {
		return PushKeyReport{}, errPushOff
	}
	server, ok := n.push.(*pushserver.Server)
	if !ok {
		return PushKeyReport{}, errors.New("nodes that share registrations know each other by their push key, which is not exchanged while they run")
	}
	cfg, at := n.settings(), time.Now()
	path := FormerPushKeysPath(cfg)
	list, err := readFormerKeys(path)
	if err != nil {
		return PushKeyReport{}, err
	}
	until, overlap := n.pushKeys.Load().Overlap(at)
	switch {
	case overlap && !now:
		return PushKeyReport{}, fmt.Errorf("the former push key is answered to until %s, and the next is made after that; --now ends it at once", until.UTC().Format(time.DateOnly))
	case overlap:
		err = n.endOverlap(server, list, path, at)
	default:
		err = n.exchangePushKey(server, list, cfg, at, now)
	}
	if err != nil {
		return PushKeyReport{}, err
	}
	return a.PushKey(ctx)
}

// endOverlap has the former key answered to no more, and nothing lead from it to the one in use.
func (n *Node) endOverlap(server *pushserver.Server, list formerKeys, path string, at time.Time) error {
	last := &list.Former[len(list.Former)-1]
	last.Until, last.Succession = at.UTC(), nil
	if err := list.write(path); err != nil {
		return err
	}
	keys, err := list.keys(crypto.FromECDSA(n.pushKeys.Load().Current))
	if err != nil {
		return err
	}
	n.setPushKeys(server, keys)
	return nil
}

// exchangePushKey makes the next key. The file with the former keys decides: until it is written there is the key of
// before, and from then on the next, whatever is interrupted.
func (n *Node) exchangePushKey(server *pushserver.Server, list formerKeys, cfg config.Config, at time.Time, now bool) error {
	file := PushKeyFile(cfg)
	next := nextPushKeyFile(file)
	former, err := file.Read()
	if err != nil {
		return err
	}
	key, err := crypto.ToECDSA(former)
	if err != nil {
		return err
	}
	secret, err := next.generate()
	if err != nil {
		return err
	}
	nextKey, err := crypto.ToECDSA(secret)
	if err != nil {
		return err
	}
	if err := os.Remove(next.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is in the way: %w", next.Path(), cause(err))
	}
	one := formerKey{Key: hex.EncodeToString(former), Next: publicHex(nextKey), Until: at.UTC()}
	if !now {
		one.Until = at.Add(time.Duration(cfg.Push.KeyOverlap)).UTC()
		s, err := pushwire.NewSuccession(key, nextKey, uint64(at.Unix()), uint64(one.Until.Unix()))
		if err != nil {
			return err
		}
		if one.Succession, err = pushwire.EncodeSuccession(s); err != nil {
			return err
		}
	}
	for len(list.Former) > 0 && !list.leadsTo(former) { // of an exchange that failed and was not on disk, or so it seemed
		list.Former = list.Former[:len(list.Former)-1]
	}
	list.Former = append(list.Former, one)
	if excess := len(list.Former) - pushserver.MaxFormerKeys; excess > 0 {
		list.Former = list.Former[excess:]
	}
	if err := writeSecret(next.Path(), secret); err != nil {
		return fmt.Errorf("the next push key cannot be written to %s: %w", next.Path(), cause(err))
	}
	if err := list.write(FormerPushKeysPath(cfg)); err != nil {
		return err // it may be on disk all the same: the next start finds out
	}
	if err := adoptPushKey(next.Path(), file.Path()); err != nil {
		return err
	}
	keys, err := list.keys(secret)
	if err != nil {
		return err
	}
	n.setPushKeys(server, keys)
	n.noteSecret(file.Path())
	return nil
}

// adoptPushKey gives the file of the next key its name, durably.
func adoptPushKey(next, path string) error {
	if err := adopt(next, path); err != nil {
		return fmt.Errorf("the push key: %w", err)
	}
	return nil
}

// setPushKeys has everything that signs or opens go on with other push keys.
func (n *Node) setPushKeys(server *pushserver.Server, keys pushserver.Keys) {
	n.pushKeys.Store(&keys)
	server.SetKeys(keys)
}

// noteSecret remembers anew what is in a file that is read once.
func (n *Node) noteSecret(path string) {
	for i, known := range n.secrets {
		if known.file.Path == path {
			if text, err := os.ReadFile(path); err == nil {
				n.secrets[i].sum = sha256.Sum256(text)
			}
		}
	}
}

// announcedKey is the key that offers and answers to requests for mail are signed with: during an overlap the former
// one, which devices that have gone on know as well.
func (n *Node) announcedKey() (*ecdsa.PrivateKey, []pushwire.Succession) {
	return n.pushKeys.Load().Announced(time.Now())
}
