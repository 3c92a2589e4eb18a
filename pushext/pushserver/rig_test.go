package pushserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// memLog is an archive in memory.
type memLog struct {
	mu      sync.Mutex
	entries []pushext.Entry
	oldest  uint64    // first retained
	hole    [2]uint64 // sequences that Follow passes over, both inclusive
	unused  uint64    // of those that are not there, up to it they were nobody's
	unsure  bool      // nobody knows of the others
	grown   chan struct{}
	broken  error // of Follow
}

func newMemLog() *memLog { return &memLog{oldest: 1, grown: make(chan struct{})} }

func (l *memLog) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(l.oldest) > len(l.entries) {
		return 0
	}
	return l.oldest
}

func (l *memLog) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.entries))
}

func (l *memLog) Lost(after, before uint64) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return before - 1 - min(max(after, l.unused), before-1), !l.unsure
}

func (l *memLog) Follow(ctx context.Context, after uint64, fn func([]pushext.Entry) error) error {
	for {
		l.mu.Lock()
		fresh, grown, err := slices.Clone(l.entries[min(int(after), len(l.entries)):]), l.grown, l.broken
		hole := l.hole
		l.mu.Unlock()
		fresh = slices.DeleteFunc(fresh, func(e pushext.Entry) bool { return hole[0] <= e.Seq && e.Seq <= hole[1] })
		if err != nil {
			return err
		}
		if len(fresh) > 0 {
			if err := fn(fresh); err != nil {
				return err
			}
			after = fresh[len(fresh)-1].Seq
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// archive appends an envelope on a topic and returns its hash.
func (l *memLog) archive(t whisper.Topic) common.Hash {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := uint64(len(l.entries) + 1)
	e := pushext.Entry{Seq: seq, Hash: testHash(seq), Topic: t, Received: time.Now()}
	l.entries = append(l.entries, e)
	close(l.grown)
	l.grown = make(chan struct{})
	return e.Hash
}

func testHash(n uint64) common.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
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

func (m *memDirectory) get(id registration.ID) (registration.Registration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.regs[id]
	m.asked[id] = ok
	return r, ok
}

func (m *memDirectory) absent(id registration.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, there := m.regs[id]
	return !there
}

func (m *memDirectory) known(id registration.ID) (registration.Registration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.regs[id], m.asked[id]
}

func (m *memDirectory) kill(id registration.ID, reason string, _ time.Time) {
	m.mu.Lock()
	r := m.regs[id]
	r.State, r.Reason = registration.Dead, reason
	m.regs[id] = r
	delete(m.asked, id)
	m.mu.Unlock()
	m.died(id, reason)
}

// proving finds an errand's route by its address.
func (m *memDirectory) proving(e *errand) (registration.Registration, int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	reg := m.regs[e.id]
	at := slices.IndexFunc(reg.Routes, func(r registration.Route) bool {
		return r.Provider == e.provider && r.Address.Token == e.address.Token && !r.Proven
	})
	return reg, at, at >= 0
}

func (m *memDirectory) challengeOver(e *errand, v pushext.Verdict, _ time.Time) bool {
	m.mu.Lock()
	m.over = append(m.over, v.Class)
	reg := m.regs[e.id]
	m.mu.Unlock()
	died := v.Class == pushext.TokenDead && reg.State == registration.Waiting
	if died {
		m.kill(e.id, v.Reason, time.Time{})
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

var testKey = bytes.Repeat([]byte{7}, vault.DiskKeySize)

var testNow = time.Unix(1e9, 0)

// rig is outbox, dispatcher and follower over a disk in memory.
type rig struct {
	t    *testing.T
	cfg  Delivery
	log  *memLog
	dir  *memDirectory
	disk durable.Storage
	out  *output // the log, for canaries

	providers []pushext.Provider

	store      *vault.Vault
	box        *outbox
	dispatcher *dispatcher
	reg        *prometheus.Registry
	cancel     context.CancelFunc
	halt       context.CancelFunc
	wg, writer sync.WaitGroup
}

func newRig(t *testing.T, cfg Delivery, providers ...pushext.Provider) *rig {
	t.Helper()
	cfg, err := cfg.withDefaults()
	require.NoError(t, err)
	r := &rig{
		t: t, cfg: cfg, log: newMemLog(), disk: faultstore.New(), providers: providers, out: new(output),
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
	e := &errand{id: id, provider: to.Provider, address: to.Address, code: code, until: time.Now().Add(5 * time.Minute)}
	e.fare.lane.provider = to.Provider
	r.dispatcher.challenge(e)
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
	box, started, err := newOutbox(s, outboxOptions{TTL: r.cfg.TTL, SilentAfter: r.cfg.SilentAfter, Logger: log, Registerer: r.reg})
	require.NoError(r.t, err)
	d, err := newDispatcher(dispatchOptions{Delivery: r.cfg, Providers: r.providers, Directory: r.dir, Outbox: box, Logger: log, Registerer: r.reg})
	require.NoError(r.t, err)
	r.store, r.box, r.dispatcher = s, box, d
	r.dir.died = func(id registration.ID, reason string) { _ = box.drop(id, outcomeDead, reason) }
	f := newFollower(followerOptions{Log: r.log, Matcher: r.dir, Outbox: box, FanOut: r.cfg.FanOut, Logger: log, Registerer: r.reg})
	if !started {
		require.NoError(r.t, f.begin())
	}
	require.NoError(r.t, box.begin(r.t.Context(), d))
	var write, run context.Context
	write, r.halt = context.WithCancel(context.Background())
	run, r.cancel = context.WithCancel(context.Background())
	r.writer.Go(func() { box.run(write) })
	goal := r.log.Last()
	r.wg.Go(func() { f.run(run) })
	r.wg.Go(func() {
		if f.catchUp(run, goal) {
			d.start()
		}
	})
}

func (r *rig) stop() {
	r.t.Helper()
	r.cancel()
	r.wg.Wait()
	r.dispatcher.stop(r.t.Context())
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

// value reads a counter or gauge.
func value(m prometheus.Metric) float64 {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		panic(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// metric is the sum of the counters or gauges of a name without its prefix that have
// the labels, given in pairs.
func (r *rig) metric(name string, labels ...string) (sum float64) {
	families, err := r.reg.Gather()
	require.NoError(r.t, err)
	for _, f := range families {
		if f.GetName() != "whisperpush_pushext_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := make(map[string]string)
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			all := true
			for i := 0; i < len(labels); i += 2 {
				all = all && have[labels[i]] == labels[i+1]
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func outcomes(r *rig, outcome, reason string) float64 {
	return r.metric("outcomes_total", "outcome", outcome, "reason", reason)
}

// inBubble runs a test in fake time.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}
