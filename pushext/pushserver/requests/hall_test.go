package requests

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/gather"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	// goleveldb returns its buffers for a second after it is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// hall is what answers requests, over a registry and an outbox on a disk in memory. It
// is not started, nobody is woken, and what it sends goes nowhere.
type hall struct {
	t       *testing.T
	options Options
	reg     *prometheus.Registry // of open's

	mu   sync.Mutex // guards envs
	envs map[common.Hash]*whisper.Envelope
}

var hallKey = bytes.Repeat([]byte{7}, vault.DiskKeySize)

func newHall(t *testing.T, limits registration.Limits) *hall {
	h := &hall{t: t, envs: make(map[common.Hash]*whisper.Envelope)}
	s, err := vault.Open("", hallKey, durable.Options{Storage: faultstore.New()})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
	})
	log := slog.New(slog.DiscardHandler)
	box, _, err := outbox.New(s, outbox.Options{TTL: 24 * time.Hour, Logger: log})
	require.NoError(t, err)
	reg, err := registry.Open(s, registry.Options{
		Limits: limits.WithDefaults(), Providers: []pushext.Provider{takesAll{}}, SkipChallenge: []string{"post"}, Ends: unended{}, Logger: log,
	})
	require.NoError(t, err)
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	h.options = Options{
		PushKeys: Keys{Current: key}, Limits: limits.WithDefaults(), Registry: reg, Outbox: box, Errands: idleErrands{}, Envelopes: h, Logger: log,
	}
	return h
}

// open is another server over the same registrations.
func (h *hall) open() *Server {
	h.reg = prometheus.NewRegistry()
	h.options.Registerer = h.reg
	return New(h.options)
}

func (h *hall) metric(name string, labels ...string) float64 {
	return gather.Sum(h.t, h.reg, "whisperpush_pushext_"+name, labels...)
}

func (h *hall) ByHash(_ context.Context, hashes []common.Hash) (found []*whisper.Envelope, missing []common.Hash, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range hashes {
		if env := h.envs[one]; env != nil {
			found = append(found, env)
		} else {
			missing = append(missing, one)
		}
	}
	return found, missing, nil
}

// archive takes an envelope into the archive.
func (h *hall) archive(env *whisper.Envelope) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.envs[env.Hash()] = env
}

// takesAll is a provider that takes any address.
type takesAll struct{}

func (takesAll) Name() string                { return "post" }
func (takesAll) Check(pushext.Address) error { return nil }
func (takesAll) Push(context.Context, pushext.Notification) pushext.Verdict {
	return pushext.Verdict{Class: pushext.Delivered}
}

// unended is told of registrations that end, and keeps nothing of them.
type unended struct{}

func (unended) Record(id registration.ID) []byte                    { return outbox.Key(id) }
func (unended) Started(registration.ID, uint64, registration.Start) {}
func (unended) Died(registration.ID, string)                        {}
func (unended) Gone(registration.ID, string)                        {}

// idleErrands does nothing.
type idleErrands struct{}

func (idleErrands) Challenge(*registration.Errand)         {}
func (idleErrands) Dismiss(registration.ID, []common.Hash) {}
func (idleErrands) Test(registration.Registration) bool    { return false }
func (idleErrands) Trials(registration.Registration) ([]registration.Trial, int) {
	return nil, 0
}
func (idleErrands) Reach(registration.ID)                                 {}
func (idleErrands) Doubts(registration.Registration) []registration.Doubt { return nil }

// nowhere is a sender whose peers are sources of their own.
type nowhere struct{}

func (nowhere) SendDirect(context.Context, enode.ID, ...*whisper.Envelope) error { return nil }
func (nowhere) Connected(enode.ID) bool                                          { return true }
func (nowhere) Source(peer enode.ID) whisper.Source                              { return whisper.Source(peer[:]) }
func (nowhere) Useful(enode.ID)                                                  {}
func (nowhere) Proved(enode.ID)                                                  {}
func (nowhere) Answered(enode.ID)                                                {}

// rung is a registration that is rung by Notify, and how to ring it.
type rung struct {
	server [33]byte
	id     registration.ID
	root   []byte
	named  [pushwire.HandleSize]byte
}

func (h *hall) rung(name string) rung {
	h.t.Helper()
	sum := sha256.Sum256([]byte(name))
	r := rung{server: [33]byte(crypto.CompressPubkey(&h.options.PushKeys.Current.PublicKey)), root: sum[:], named: [pushwire.HandleSize]byte(sum[:])}
	rec, _, err := h.options.Registry.Register([33]byte(append([]byte{2}, sum[:]...)), whisper.Source(name), &pushwire.Register{
		Version: 1, Plain: true, Routes: []pushwire.Route{{Provider: "post", Address: []byte(name)}},
		Preferences: pushwire.Preferences{Root: r.root, Handle: r.named[:]},
	}, time.Now())
	require.NoError(h.t, err)
	require.Equal(h.t, registration.Active, rec.State)
	r.id = rec.ID
	return r
}

// by is the request of a holder to ring the registration for a message.
func (r rung) by(holder string, hash common.Hash) *pushwire.Notify {
	return pushwire.NewNotify(pushwire.Capability(r.root, holder), r.named, holder, hash, pushwire.NotifyMessage, r.server)
}
