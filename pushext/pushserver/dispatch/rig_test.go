package dispatch

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/follow"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/gather"
	"whisperpush/testutil/logtext"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	// goleveldb returns its buffers for a second after it is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// memDirectory is a registry in memory, as far as matching and dispatch need it.
type memDirectory struct {
	mu    sync.Mutex
	over  []pushext.Class // of errands
	regs  map[registration.ID]registration.Registration
	asked map[registration.ID]bool // get was called since the latest change
	topic map[whisper.Topic][]registration.ID
	died  func(registration.ID, string)
}

func newMemDirectory() *memDirectory {
	return &memDirectory{
		regs:  make(map[registration.ID]registration.Registration),
		asked: make(map[registration.ID]bool),
		topic: make(map[whisper.Topic][]registration.ID),
	}
}

func (m *memDirectory) Match(t whisper.Topic, _ time.Time, fn func(registration.ID)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.topic[t] {
		if m.regs[id].State == registration.Active {
			fn(id)
		}
	}
}

func (m *memDirectory) Get(id registration.ID) (registration.Registration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.regs[id]
	m.asked[id] = ok
	return r, ok
}

func (m *memDirectory) Absent(id registration.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, there := m.regs[id]
	return !there
}

func (m *memDirectory) Cached(id registration.ID) (registration.Registration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.regs[id], m.asked[id]
}

func (m *memDirectory) Kill(id registration.ID, reason string, _ time.Time) {
	m.mu.Lock()
	r := m.regs[id]
	r.State, r.Reason = registration.Dead, reason
	m.regs[id] = r
	delete(m.asked, id)
	m.mu.Unlock()
	m.died(id, reason)
}

// Proving finds an errand's route by its address.
func (m *memDirectory) Proving(e *registration.Errand) (registration.Registration, int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	reg := m.regs[e.ID]
	at := slices.IndexFunc(reg.Routes, func(r registration.Route) bool {
		return r.Provider == e.Provider && r.Address.Token == e.Address.Token && !r.Proven
	})
	return reg, at, at >= 0
}

func (m *memDirectory) ChallengeOver(e *registration.Errand, v pushext.Verdict, _ time.Time) bool {
	m.mu.Lock()
	m.over = append(m.over, v.Class)
	reg := m.regs[e.ID]
	m.mu.Unlock()
	died := v.Class == pushext.TokenDead && reg.State == registration.Waiting
	if died {
		m.Kill(e.ID, v.Reason, time.Time{})
	}
	return died
}

// ended are the classes with which errands ended.
func (m *memDirectory) ended() []pushext.Class {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.over)
}

func (m *memDirectory) edit(id registration.ID, change func(*registration.Registration)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.regs[id]
	change(&r)
	m.regs[id] = r
	delete(m.asked, id)
}

// push is what a provider was given.
type push struct {
	pushext.Notification
	Payload pushwire.Payload
	At      time.Time
	Class   pushext.Class
}

// scripted is a provider that answers as told and remembers.
type scripted struct {
	name   string
	answer func(ctx context.Context, n pushext.Notification) pushext.Verdict // nil: Delivered

	mu     sync.Mutex
	pushes []push
	flying map[string]int
	worst  int // most attempts at once for one address
}

func (s *scripted) Name() string              { return s.name }
func (*scripted) Check(pushext.Address) error { return nil }
func (s *scripted) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	s.mu.Lock()
	if s.flying == nil {
		s.flying = make(map[string]int)
	}
	s.flying[n.Address.Token]++
	s.worst = max(s.worst, s.flying[n.Address.Token])
	answer := s.answer
	s.mu.Unlock()
	v := pushext.Verdict{Class: pushext.Delivered}
	if answer != nil {
		v = answer(ctx, n)
	}
	p, err := pushwire.OpenPayload(n.Body, nil)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying[n.Address.Token]--
	n.Body = bytes.Clone(n.Body)
	s.pushes = append(s.pushes, push{n, p, time.Now(), v.Class})
	return v
}

func (s *scripted) set(answer func(context.Context, pushext.Notification) pushext.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *scripted) always(v pushext.Verdict) {
	s.set(func(context.Context, pushext.Notification) pushext.Verdict { return v })
}

func (s *scripted) all() []push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pushes)
}

// to lists the pushes to an address.
func (s *scripted) to(token string) []push {
	return slices.DeleteFunc(s.all(), func(p push) bool { return p.Address.Token != token })
}

// hosted is a scripted provider with a lane for each host: the token up to a slash.
type hosted struct{ *scripted }

func (hosted) Lane(a pushext.Address) string {
	host, _, _ := bytes.Cut([]byte(a.Token), []byte("/"))
	return string(host)
}

// Bounds of the other parts, as their documents tell.
const (
	untilCommit  = 20 * time.Millisecond // until the outbox writes
	aheadOfDisk  = 16384                 // matches that it may be ahead of the disk
	remembered   = 64                    // envelopes of a device
	reservedEach = 32                    // push numbers at a time
	handedOver   = 4096                  // matches that the follower gives to the outbox at once
	catchingUp   = 5 * time.Second       // that it waits before anybody is woken
)

var testKey = bytes.Repeat([]byte{7}, vault.DiskKeySize)

var testNow = time.Unix(1e9, 0)

// rig is outbox, dispatcher and follower over a disk in memory.
type rig struct {
	t    *testing.T
	cfg  Delivery
	log  *memlog.Log
	dir  *memDirectory
	disk durable.Storage
	out  *logtext.Buffer // the log, for canaries

	providers []pushext.Provider

	store      *vault.Vault
	box        *outbox.Outbox
	dispatcher *Dispatcher
	reg        *prometheus.Registry
	cancel     context.CancelFunc
	halt       context.CancelFunc
	wg, writer sync.WaitGroup
}

func newRig(t *testing.T, cfg Delivery, providers ...pushext.Provider) *rig {
	t.Helper()
	cfg, err := cfg.WithDefaults()
	require.NoError(t, err)
	r := &rig{
		t: t, cfg: cfg, log: memlog.New(), disk: faultstore.New(), providers: providers, out: new(logtext.Buffer),
		dir: newMemDirectory(),
	}
	return r
}

// device adds a confirmed registration that listens to its own topic, woken
// through the routes "provider token".
func (r *rig) device(id registration.ID, routes ...string) whisper.Topic {
	reg := registration.Registration{
		ID: id, State: registration.Active, Plain: true, Collapse: fmt.Sprintf("collapse-%d", id),
		Registered: time.Now(), Expires: time.Now().Add(1e6 * time.Hour),
	}
	for _, on := range routes {
		var rt registration.Route
		_, err := fmt.Sscan(on, &rt.Provider, &rt.Address.Token)
		require.NoError(r.t, err)
		rt.Proven = true
		reg.Routes = append(reg.Routes, rt)
	}
	t := topicOf(id)
	r.dir.mu.Lock()
	defer r.dir.mu.Unlock()
	r.dir.regs[id] = reg
	r.dir.topic[t] = append(r.dir.topic[t], id)
	return t
}

// challenge sends a code to a route of a device.
func (r *rig) challenge(id registration.ID, route int, code [pushwire.CodeSize]byte) {
	r.dir.mu.Lock()
	to := r.dir.regs[id].Routes[route]
	r.dir.mu.Unlock()
	e := &registration.Errand{ID: id, Provider: to.Provider, Address: to.Address, Code: code, Until: time.Now().Add(5 * time.Minute)}
	e.Fare.Lane.Provider = to.Provider
	r.dispatcher.Challenge(e)
}

// topicOf is the topic that a device of a rig listens to.
func topicOf(id registration.ID) whisper.Topic {
	return whisper.Topic(binary.BigEndian.AppendUint32(nil, uint32(id)))
}

func (r *rig) start() {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r.out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := vault.Open("", testKey, durable.Options{Storage: r.disk})
	require.NoError(r.t, err)
	r.reg = prometheus.NewRegistry()
	box, started, err := outbox.New(s, outbox.Options{TTL: r.cfg.TTL, SilentAfter: r.cfg.SilentAfter, Logger: log, Registerer: r.reg})
	require.NoError(r.t, err)
	d, err := New(Options{Delivery: r.cfg, Providers: r.providers, Directory: r.dir, Outbox: box, Logger: log, Registerer: r.reg})
	require.NoError(r.t, err)
	r.store, r.box, r.dispatcher = s, box, d
	r.dir.died = func(id registration.ID, reason string) { _ = box.Drop(id, outbox.OutcomeDead, reason) }
	f := follow.New(follow.Options{Log: r.log, Matcher: r.dir, Outbox: box, FanOut: r.cfg.FanOut, Logger: log, Registerer: r.reg})
	if !started {
		require.NoError(r.t, f.Begin())
	}
	require.NoError(r.t, box.Begin(r.t.Context(), d))
	var write, run context.Context
	write, r.halt = context.WithCancel(context.Background())
	run, r.cancel = context.WithCancel(context.Background())
	r.writer.Go(func() { box.Run(write) })
	goal := r.log.Last()
	r.wg.Go(func() { f.Run(run) })
	r.wg.Go(func() {
		if f.CatchUp(run, goal) {
			d.Start()
		}
	})
}

func (r *rig) stop() {
	r.t.Helper()
	r.cancel()
	r.wg.Wait()
	r.dispatcher.Stop(r.t.Context())
	r.halt()
	r.writer.Wait()
	require.NoError(r.t, r.store.Close())
	families, err := r.reg.Gather()
	require.NoError(r.t, err)
	for _, f := range families {
		require.Regexp(r.t, `^whisperpush_pushext_[a-z_]+$`, f.GetName())
		require.NotEmpty(r.t, f.GetHelp())
	}
	time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
}

// metric is the sum of the counters or gauges of a name without its prefix that have
// the labels, given in pairs.
func (r *rig) metric(name string, labels ...string) float64 {
	return gather.Sum(r.t, r.reg, "whisperpush_pushext_"+name, labels...)
}

func outcomes(r *rig, outcome, reason string) float64 {
	return r.metric("outcomes_total", "outcome", outcome, "reason", reason)
}
