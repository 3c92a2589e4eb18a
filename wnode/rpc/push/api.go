package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// Namespace is the name the methods are served under: push_register.
const Namespace = "push"

// Limits on what callers can leave here.
const (
	// maxDevices is how many devices there are at most. Each may have a connection.
	maxDevices = 64
	// maxChannels is how many channels a device has at most, and maxChannelName how many bytes their names have: the
	// account is written as a whole with every change.
	maxChannels    = 512
	maxChannelName = 256
	// maxSetting is how long each setting of a device is at most, in bytes.
	maxSetting = 1024
	// maxPush is the longest push that is received, in bytes: push services take 4 KiB.
	maxPush = 16 << 10
	// maxHashes is how many envelopes one call names at most.
	maxHashes = 1024
	// patience is how long a call tries to reach the mailserver.
	patience = time.Minute
)

var (
	errClosed      = errors.New("the node is stopping")
	errTooMany     = fmt.Errorf("there are %d devices already; delete some with push_deleteDevice", maxDevices)
	errNoPush      = errors.New("push is off at this node, so give the server and the pushKey of another mailserver")
	errKnown       = errors.New("there is a device of this name already; choose another, or delete it with push_deleteDevice")
	errName        = errors.New("the name of a device is 1 to 64 of a-z, A-Z, 0-9, dot, dash and underscore")
	errNoDevice    = errors.New("there is no device of this name; push_newDevice makes one")
	errHalf        = errors.New("give both server and pushKey, or neither for this node")
	errLongSetting = fmt.Errorf("a setting of the device is longer than %d bytes", maxSetting)
)

var deviceName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)

// Keys are the keys that callers have put into the namespace shh.
type Keys interface {
	GetSymKey(ctx context.Context, id string) (hexutil.Bytes, error)
	GetPrivateKey(ctx context.Context, id string) (hexutil.Bytes, error)
}

// Listener is what hears the offers of mailservers: a *whisper.Node.
type Listener interface {
	Subscribe(f whisper.Filter, buffer int) (*whisper.Subscription, error)
}

// Config says where devices are kept and what they stand on.
type Config struct {
	Dir string // of the devices; made with the first one
	// Key returns the key that their files are sealed with, KeySize bytes. It is asked for with the first device, or at
	// the start if there are some.
	Key func() ([]byte, error)
	// Own is how a device reaches this node, and its push key; empty if push is off.
	Own     func() (server, pushKey string)
	Keys    Keys
	Network Listener
	Logger  *slog.Logger // nil: nothing is logged
}

// API has the methods of the namespace as methods of its own; the rpc package makes push_newDevice of NewDevice.
type API struct {
	cfg    Config
	logger *slog.Logger
	life   context.Context // ends with close
	end    context.CancelFunc
	work   sync.WaitGroup // goroutines: of listening devices, subscriptions, offers
	offers offers

	mu            sync.Mutex // guards the following fields, and is held while a device is made or deleted
	cabinet       *cabinet   // nil: there was no device yet
	devices       map[string]*device
	subscriptions int
	closed        bool
}

// New reads the devices. stop hangs up every device, ends every subscription and waits for their goroutines; calls after
// it fail. It is no method, for those are served. The error is a sentence for the operator.
func New(cfg Config) (_ *API, stop func(), _ error) {
	a := &API{cfg: cfg, logger: cfg.Logger, devices: map[string]*device{}}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	a.life, a.end = context.WithCancel(context.Background())
	if err := a.read(); err != nil {
		a.end()
		return nil, nil, fmt.Errorf("the devices of local programs in %s cannot be read: %w; put things right, or move the directory away to begin anew", cfg.Dir, err)
	}
	if err := a.hearOffers(); err != nil {
		a.end()
		return nil, nil, err
	}
	return a, a.close, nil
}

// read opens the cabinet if there is anything in it.
func (a *API) read() error {
	some, err := occupied(a.cfg.Dir)
	if err != nil || !some {
		return err
	}
	if err := a.openCabinet(); err != nil {
		return err
	}
	accounts, damaged, err := a.cabinet.accounts()
	if err != nil {
		return err
	}
	if len(damaged) > 0 && len(accounts) == 0 {
		return errSealed
	}
	for _, file := range damaged {
		a.logger.Error("a device of a local program is damaged and left out", "file", file)
	}
	for _, account := range accounts {
		a.devices[account.Name] = newDevice(a, account)
	}
	return nil
}

// openCabinet gets the key. The caller holds mu, or nobody else knows the API.
func (a *API) openCabinet() (err error) {
	if a.cabinet != nil {
		return nil
	}
	key, err := a.cfg.Key()
	if err != nil {
		return err
	}
	a.cabinet, err = newCabinet(a.cfg.Dir, key)
	return err
}

func (a *API) close() {
	a.mu.Lock()
	a.closed = true
	devices := slices.Collect(maps.Values(a.devices))
	a.mu.Unlock()
	a.end()
	for _, d := range devices {
		d.close()
	}
	a.work.Wait()
}

// device finds a device.
func (a *API) device(name string) (*device, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch d := a.devices[name]; {
	case a.closed:
		return nil, errClosed
	case d == nil:
		return nil, errNoDevice
	default:
		return d, nil
	}
}

// NewDevice makes a device with keys of its own. It connects to nothing yet.
func (a *API) NewDevice(ctx context.Context, settings NewDevice) (bool, error) {
	if !deviceName.MatchString(settings.Name) {
		return false, errName
	}
	if max(len(settings.Server), len(settings.PushKey), len(settings.MailPassword)) > maxSetting {
		return false, errLongSetting
	}
	if (settings.Server == "") != (settings.PushKey == "") {
		return false, errHalf
	}
	account := &account{Name: settings.Name, Server: settings.Server, PushKey: settings.PushKey, MailPassword: settings.MailPassword}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return false, errClosed
	case a.devices[settings.Name] != nil:
		return false, errKnown
	case len(a.devices) >= maxDevices:
		return false, errTooMany
	}
	if err := a.openCabinet(); err != nil {
		return false, err
	}
	d := newDevice(a, account)
	err := a.cabinet.remove(settings.Name) // what a device of that name left
	if err == nil {
		err = a.cabinet.write(ctx, account)
	}
	if err != nil {
		return false, fmt.Errorf("the device cannot be kept: %w", err)
	}
	_, unused, err := d.open(ctx)
	if err != nil { // a wrong server or push key
		return false, errors.Join(err, a.cabinet.remove(settings.Name))
	}
	unused()
	a.devices[settings.Name] = d
	return true, nil
}

// Devices lists the devices, by name.
func (a *API) Devices(ctx context.Context) ([]Device, error) {
	a.mu.Lock()
	devices := slices.Collect(maps.Values(a.devices))
	a.mu.Unlock()
	list := []Device{}
	for _, d := range devices {
		told, err := d.describe(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, told)
	}
	slices.SortFunc(list, func(x, y Device) int { return cmpName(x.Name, y.Name) })
	return list, nil
}

// DeleteDevice ends the device's registration, if the mailserver can be reached, and forgets the device and its keys. It
// tells whether the mailserver knows; if not, wake-ups go on until the registration's lifetime is over.
func (a *API) DeleteDevice(ctx context.Context, name string) (bool, error) {
	d, err := a.device(name)
	if err != nil {
		return false, err
	}
	told := d.leave(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.devices[name] != d {
		return false, errNoDevice // deleted by two at once
	}
	d.close()
	if err := a.cabinet.remove(name); err != nil {
		return false, fmt.Errorf("the device cannot be deleted: %w", err)
	}
	delete(a.devices, name)
	return told, nil
}

// client opens a device as its account says.
func (a *API) client(ctx context.Context, account *account) (*client.Device, error) {
	server, pushKey := account.Server, account.PushKey
	var former []string
	if server == "" {
		if server, pushKey = a.cfg.Own(); server == "" {
			return nil, errNoPush
		}
		if account.PushKey != "" && account.PushKey != pushKey {
			former = []string{account.PushKey} // this node has another push key than when it was opened last
		}
	}
	chats, err := account.chats()
	if err != nil {
		return nil, err
	}
	d, err := client.Open(ctx, client.Config{
		Server: server, PushKey: pushKey, FormerPushKeys: former, MailPassword: account.MailPassword, Chats: chats,
		Store: a.cabinet.file(account.Name, stateFile), Logger: a.logger,
	})
	if err != nil {
		return nil, err
	}
	d.Doubt(account.Doubt...)
	if account.PushKey != pushKey {
		account.PushKey = pushKey
		err = a.cabinet.write(ctx, account)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}
