package direct

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/providertest"
)

// devices are the ends of links; it is the suite's push service.
type devices struct {
	t *testing.T
	p *Provider

	mu     sync.Mutex // guards the following and the links
	links  map[string]*link
	bodies map[string][]providertest.Received
}

// link is one connection of a device.
type link struct {
	*devices
	token string
	fault providertest.Fault
}

var errBroke = errors.New("link broke")

func (l *link) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault != providertest.Unavailable
}

func (l *link) Ring(ctx context.Context, body []byte) error {
	l.mu.Lock()
	fault := l.fault
	l.mu.Unlock()
	switch fault {
	case providertest.Hang:
		<-ctx.Done()
		return ctx.Err()
	case providertest.Reset:
		return errBroke
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bodies[l.token] = append(l.bodies[l.token], providertest.Received{Body: append([]byte(nil), body...)})
	return nil
}

func (d *devices) Device() pushext.Address {
	key, err := crypto.GenerateKey()
	require.NoError(d.t, err)
	addr := pushext.Address{Token: string(crypto.CompressPubkey(&key.PublicKey))}
	d.Script(addr, providertest.None, 0)
	return addr
}

// Script breaks the link of a device, or lets it connect again.
func (d *devices) Script(addr pushext.Address, f providertest.Fault, _ time.Duration) {
	d.mu.Lock()
	l := d.links[addr.Token]
	if l == nil || f == providertest.None {
		l = &link{devices: d, token: addr.Token}
		d.links[addr.Token] = l
	}
	l.fault = f
	d.mu.Unlock()
	d.p.Heard(addr, l)
}

func (d *devices) Received(addr pushext.Address) []providertest.Received {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bodies[addr.Token]
}

func newDevices(t *testing.T, cfg Config) *devices {
	p, err := New(cfg)
	require.NoError(t, err)
	return &devices{t: t, p: p, links: make(map[string]*link), bodies: make(map[string][]providertest.Received)}
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T) (pushext.Provider, providertest.Backend) {
			d := newDevices(t, Config{})
			return d.p, d
		},
		// There is no service that could answer so.
		Lacks:      []providertest.Fault{providertest.Throttled, providertest.Gone, providertest.Malformed, providertest.Refused, providertest.Garbage},
		NoCollapse: true, NoTTL: true, NoUrgency: true,
		BadAddresses: map[string]pushext.Address{
			"no point of the curve": {Token: "\x02" + string(make([]byte, 31)) + "\x07"},
			"keys":                  {Token: string(pubkey(t)), Keys: [][]byte{{1}}},
		},
	})
}

func pubkey(t *testing.T) []byte {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return crypto.CompressPubkey(&key.PublicKey)
}
