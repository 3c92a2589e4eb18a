package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
	"whisperpush/pushext/pushwire"
)

// Directory is what the dispatcher needs of the registry. Get and Kill are called
// without locks, may read the disk, and may be called at the same time.
type Directory interface {
	Get(registration.ID) (registration.Registration, bool)
	// Cached is Get without the disk. False means "not in memory", not "not registered". It
	// is called with the dispatcher's lock held.
	Cached(registration.ID) (registration.Registration, bool)
	// Absent reports that there is certainly no such registration.
	Absent(registration.ID) bool
	// Kill ends a registration whose provider says, exactly, that its address is gone.
	Kill(id registration.ID, reason string, at time.Time)
	// Proving returns the registration that an errand is for and the number of its route, or
	// false if it does not have that challenge any more.
	Proving(e *registration.Errand) (registration.Registration, int, bool)
	// ChallengeOver says how an errand ended; if the service gave no answer, the class is
	// Retry. It reports whether that ended the registration.
	ChallengeOver(e *registration.Errand, v pushext.Verdict, now time.Time) bool
}

const (
	// lobbySize is how many registrations are looked up at once.
	lobbySize = 16
	// sideAttempts is how often a challenge or a dismissal is tried.
	sideAttempts = 3
)

// line is a provider and its state.
type line struct {
	provider    atomic.Pointer[pushext.Provider] // which Reset replaces
	name        string
	laner       pushext.Laner  // nil if it has one lane; the first instance's for good: an address alone names its lane
	share       *share         // of its lanes, nil if it has one lane
	limit       int            // attempts at once in one lane
	linked      bool           // it is a Linked
	patience    time.Duration  // how long a device may take to fetch before its next route is tried
	budget      pushext.Budget // of each device
	collapsible pushext.Budget // of each device, for notifications with a collapse id; zero: no bound
	pace        pushext.Budget // of the attempts of each lane; zero: no bound
	queued      prometheus.Gauge
	flying      prometheus.Gauge
	breaker     breaker // guarded by Dispatcher.mu: pauses all lanes of a Laner
	quiet       quieted // guarded by Dispatcher.mu
	frozen      int     // guarded by Dispatcher.mu: lanes whose dead verdicts are not believed
	health      health  // guarded by Dispatcher.mu
	held        bool    // guarded by Dispatcher.mu: the operator wants no attempt
	attempts    int     // guarded by Dispatcher.mu: under way

	// landed is closed, and set to nil, when attempts falls to 0; nil if nobody waits. Guarded by Dispatcher.mu.
	landed chan struct{}

	// gone is set while the provider is not in the settings any more: no route leads to it.
	gone atomic.Bool
}

// pauses reports whether a verdict stops other devices at once, and not only its own.
func (p *line) pauses(v pushext.Verdict) bool {
	switch v.Class {
	case pushext.RetryAt:
		return p.scope(v) == pushext.ScopeProvider
	case pushext.ProviderBroken:
		return p.scope(v) != pushext.ScopeAddress
	}
	return false
}

// scope is how far a verdict reaches. A provider with one lane is one host.
func (p *line) scope(v pushext.Verdict) pushext.Scope {
	scope := v.Scope
	if scope == pushext.ScopeDefault {
		switch v.Class {
		case pushext.Retry, pushext.Delivered, pushext.ProviderBroken:
			scope = pushext.ScopeHost
		default:
			scope = pushext.ScopeAddress
		}
	}
	if scope == pushext.ScopeHost && p.laner == nil {
		scope = pushext.ScopeProvider
	}
	return scope
}

// Dispatcher wakes devices. Everything is driven by events: a match, the end
// of an attempt, a timer of one job or lane. A device has at most one attempt
// in flight; what matches meanwhile goes into one more after it.
//
// The outbox knows what a device is to be woken for, durably; the dispatcher
// knows when and through which provider, in memory.
type Dispatcher struct {
	cfg   atomic.Pointer[Delivery] // complete
	dir   Directory
	box   *outbox.Outbox
	log   *slog.Logger
	m     *metrics
	lines atomic.Pointer[map[string]*line] // of all providers that there ever were; replaced as a whole
	era   atomic.Uint64                    // counts changes of which providers there are

	hold    func() error // returns when devices may be woken; nil: they always may
	sealers sealers

	ctx    context.Context // of attempts
	cancel context.CancelFunc
	wg     sync.WaitGroup // of attempts
	pilots pilots

	// mu guards the following fields, the lanes, the jobs and the gates. While it is held,
	// no lock but the directory's own is taken, and no provider is called.
	mu       sync.Mutex
	jobs     map[registration.ID]*job
	lanes    map[registration.Lane]*lane
	lobby    *lane           // where the registry is asked which lane a job belongs to
	runnable waitlist[*lane] // those without a site that have something queued and, as far as known, may send
	shares   []*share
	links    *share // the share of links; nil: there is none
	hosts    *share // the share of hosts; nil: there is none
	idle     int    // lanes kept only for what they remember
	trials   map[registration.ID]*trials
	doubted  int    // devices remembered because a lane called them dead
	resting  []*job // idle, kept for their spent budget
	flying   int
	started  bool
	stopped  bool
}

// jobState is where a job is.
type jobState uint8

const (
	idle    jobState = iota
	queued           // in the queue of a lane
	waiting          // for a timer, or for a reserved sequence number
	flying           // an attempt is in flight
)

// job is the work for one device: its wake-ups, or one challenge. Guarded by
// Dispatcher.mu, except that route, wake and nonce belong to the attempt while one is in
// flight.
type job struct {
	id registration.ID

	state  jobState
	lane   *lane // where it was queued last
	crowd  bool  // one of very many to be woken for the same: the others go first
	ticket uint64
	timer  *time.Timer // of waiting
	again  bool        // rung while flying
	there  bool        // its device came through a link of its own while flying
	step   bool        // the ladder's delay ended while flying

	route    int
	era      uint64                     // the dispatcher's when route was numbered
	blurred  bool                       // it has waited for Jitter and Batch
	repeat   bool                       // send again what was accepted, through the next route
	heir     bool                       // what it sends may have been sent before a restart
	ladder   *time.Timer                // nil if no next route is to be tried
	accepted bool                       // some route accepted wake
	doubts   map[int]registration.Doubt // routes called dead

	wake   *outbox.Wakeup                     // of the latest attempt
	nonce  string                             // of that, for Notification.ID
	failed int                                // attempts since the latest that was accepted
	died   int                                // of those, rounds that ended with a dead address
	cause  string                             // what holds the job up
	spent  [pushwire.MaxRoutes]spacing.Bucket // by route: each push service has limits of its own

	dismiss []common.Hash // to be dismissed, newest last

	errand   *registration.Errand // of a challenge, otherwise nil
	trial    *trial               // of a test push, otherwise nil
	deadline *time.Timer          // of either
}

// Options of a dispatcher. All but Hold are required; a nil Registerer registers no
// metrics.
type Options struct {
	Delivery   Delivery // complete
	Providers  []pushext.Provider
	Directory  Directory
	Outbox     *outbox.Outbox
	Hold       func() error // returns when devices may be woken, or why never again; nil: they always may
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// New builds a dispatcher, which starts nothing before Start. The error says what is
// wrong with the options.
func New(o Options) (*Dispatcher, error) {
	cfg, m := o.Delivery, newMetrics(o.Registerer)
	d := &Dispatcher{
		dir: o.Directory, box: o.Outbox, log: o.Logger, m: m, hold: o.Hold,
		jobs:  make(map[registration.ID]*job),
		lanes: make(map[registration.Lane]*lane), trials: make(map[registration.ID]*trials),
	}
	d.cfg.Store(&cfg)
	d.lobby = &lane{
		line: &line{
			queued: prometheus.NewGauge(prometheus.GaugeOpts{}),
			flying: prometheus.NewGauge(prometheus.GaugeOpts{}),
		},
		breaker: newBreaker(lobbySize),
	}
	d.lobby.flight = &flight{lane: d.lobby}
	if err := checkProviders(o.Providers); err != nil {
		return nil, err
	}
	lines := make(map[string]*line, len(o.Providers))
	for _, p := range o.Providers {
		lines[p.Name()] = d.newLine(p, &cfg)
	}
	d.lines.Store(&lines)
	if err := fits(cfg, o.Providers); err != nil {
		return nil, err
	}
	d.divide()
	if err := knows(cfg, o.Providers); err != nil {
		return nil, err
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.pilots.init()
	return d, nil
}

// line is the line of a provider; nil if there never was one.
func (d *Dispatcher) line(name string) *line { return (*d.lines.Load())[name] }

// newLine makes the line of a provider, without its part of MaxInFlight.
func (d *Dispatcher) newLine(p pushext.Provider, cfg *Delivery) *line {
	laner, _ := p.(pushext.Laner)
	_, linked := p.(pushext.Linked)
	l := &line{
		name: p.Name(), laner: laner, linked: linked, quiet: newQuieted(p), collapsible: collapsible(p),
		queued: d.m.queued.WithLabelValues(p.Name()), flying: d.m.flying.WithLabelValues(p.Name()),
	}
	l.reset(p, cfg)
	return l
}

// parts is how many parts MaxInFlight has: one for each provider with one lane, one for
// all links and one for all hosts.
func parts(providers []pushext.Provider) (n int) {
	links, hosts := 0, 0
	for _, p := range providers {
		_, laner := p.(pushext.Laner)
		_, linked := p.(pushext.Linked)
		switch {
		case !laner:
			n++
		case linked:
			links = 1
		default:
			hosts = 1
		}
	}
	return n + links + hosts
}

// fits refuses more providers than there may be attempts.
func fits(cfg Delivery, providers []pushext.Provider) error {
	if n := parts(providers); n > cfg.MaxInFlight {
		return fmt.Errorf("%w: MaxInFlight is %d, less than one attempt for each of %d providers", errDelivery, cfg.MaxInFlight, n)
	}
	return nil
}

// divide shares out MaxInFlight. Each provider with one lane, which nobody can multiply,
// gets as many as it may use; all links together get twice that; all hosts together get
// the rest. Nobody gets less than an equal part. The caller holds mu, or nobody else
// knows the dispatcher yet.
func (d *Dispatcher) divide() {
	cfg := d.cfg.Load()
	var providers []pushext.Provider
	links, hosts := false, false
	for _, p := range *d.lines.Load() {
		if p.gone.Load() {
			continue
		}
		providers = append(providers, *p.provider.Load())
		links = links || p.laner != nil && p.linked
		hosts = hosts || p.laner != nil && !p.linked
	}
	if links && d.links == nil {
		d.links = newShare(0, cfg.HostConcurrency)
		d.shares = append(d.shares, d.links)
	}
	if hosts && d.hosts == nil {
		d.hosts = newShare(0, siteHosts*cfg.HostConcurrency)
		d.shares = append(d.shares, d.hosts)
	}
	part := cfg.MaxInFlight / max(parts(providers), 1)
	left := cfg.MaxInFlight
	for _, p := range *d.lines.Load() {
		switch {
		case p.gone.Load():
		case p.laner == nil:
			p.limit = min(cfg.Concurrency, part)
			left -= p.limit
		case p.linked:
			p.share, p.limit = d.links, cfg.HostConcurrency
		default:
			p.share, p.limit = d.hosts, cfg.HostConcurrency
		}
	}
	if links {
		d.links.limit = left
		if hosts {
			d.links.limit = min(2*cfg.Concurrency, part)
		}
		left -= d.links.limit
	}
	if hosts {
		d.hosts.limit = left
	}
}

// checkProviders refuses bad names, and two that are the same.
func checkProviders(providers []pushext.Provider) error {
	names := make(map[string]bool, len(providers))
	for _, p := range providers {
		if err := checkName(p.Name()); err != nil {
			return err
		}
		if names[p.Name()] {
			return fmt.Errorf("two providers are named %q", p.Name())
		}
		names[p.Name()] = true
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > pushwire.MaxProviderName {
		return fmt.Errorf("provider name %q has %d bytes, want 1 to %d", name, len(name), pushwire.MaxProviderName)
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("provider name %q has characters other than a-z, 0-9 and -", name)
		}
	}
	return nil
}

// Start lets attempts begin; devices that were rung before are queued already.
func (d *Dispatcher) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.started = true
	d.schedule(time.Now())
}

// Stop starts no more attempts, lets those in flight end until ctx does, then
// cancels them, and returns when none is left.
func (d *Dispatcher) Stop(ctx context.Context) {
	d.mu.Lock()
	d.stopped = true
	for _, j := range d.jobs {
		halt(j.timer)
		halt(j.ladder)
	}
	for _, l := range d.lanes {
		halt(l.timer)
	}
	for _, s := range d.shares {
		halt(s.timer)
	}
	d.mu.Unlock()
	landed := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(landed)
	}()
	select {
	case <-landed:
	case <-ctx.Done():
		d.cancel()
		<-landed
	}
	d.cancel()
	d.pilots.stop()
}

func halt(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

// Ring says that a device may have something to be woken for. With crowd set, it lets the
// others go first.
func (d *Dispatcher) Ring(id registration.ID, crowd bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.job(id)
	d.way(j, "rung")
	j.heir = j.heir || !d.started
	promoted := j.crowd && !crowd
	j.crowd = j.crowd && crowd || crowd && j.state == idle && j.ladder == nil
	switch j.state {
	case queued:
		if promoted {
			d.queue(j.lane, j, time.Now())
		}
	case flying:
		j.again = true
	case idle:
		if j.ladder == nil {
			j.route = 0
		}
		d.enqueue(j, time.Now())
	case waiting:
		switch {
		case j.timer == nil: // for its sequence number
		case j.cause == causeQuiet: // only a dismissal waits
			j.cause = ""
			if j.ladder == nil {
				j.route = 0
			}
		default:
			return
		}
		d.enqueue(j, time.Now())
	}
}

// Resume is Ring for what is left from before a restart.
func (d *Dispatcher) Resume(id registration.ID) {
	d.mu.Lock()
	d.job(id).cause = causeRestart
	d.mu.Unlock()
	d.Ring(id, true) // what is new goes first
}

// Reach says that a device has come through a link of its own: it is rung for everything
// that it has not fetched, including what was accepted elsewhere.
func (d *Dispatcher) Reach(id registration.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.job(id)
	d.way(j, "came by its link")
	switch {
	case j.state == flying:
		j.there = true // it is rung after the attempt, whatever the verdict
	case j.state == queued && j.route == 0:
		j.anew() // in its place
	default: // also if it is queued for a route that is paused
		j.anew()
		d.enqueue(j, time.Now())
	}
}

// Doubts returns, for each route of a registration, whether its address is in doubt; nil
// if none is. Doubts are remembered while a wake-up waits for the device, and after that
// as long as its budget is.
func (d *Dispatcher) Doubts(reg registration.Registration) (all []registration.Doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jobs[reg.ID]
	if j == nil || len(j.doubts) == 0 {
		return nil
	}
	all = make([]registration.Doubt, len(reg.Routes))
	used := 0 // as usable numbers them
	for i, r := range reg.Routes {
		if d.leads(r) {
			all[i] = j.doubts[used]
			used++
		}
	}
	return all
}

// anew starts again with the first route, for everything that was not fetched. The caller
// holds Dispatcher.mu.
func (j *job) anew() {
	halt(j.ladder)
	j.ladder, j.step, j.repeat, j.blurred = nil, false, true, false
	j.route, j.failed = 0, 0
}

// Calm says that a device showed a sign of life: its ladder starts again.
func (d *Dispatcher) Calm(id registration.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jobs[id]
	if j == nil {
		return
	}
	d.way(j, "sign of life")
	halt(j.ladder)
	j.ladder, j.step, j.repeat, j.died, j.doubts = nil, false, false, 0, nil
	switch {
	case j.state == idle:
		j.route = 0
		d.finish(j, time.Now())
	case j.state == waiting && j.timer != nil && j.cause != causeBlur:
		j.failed = 0
		d.enqueue(j, time.Now())
	}
}

// Dismiss wakes a device, not urgently, to remove the notifications of hashes
// that were seen elsewhere. It is kept in memory: if it is lost, the device learns of them
// by its next Fetch (outbox.Owed).
func (d *Dispatcher) Dismiss(id registration.ID, hashes []common.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.job(id)
	j.dismiss = append(j.dismiss, hashes...)
	if extra := len(j.dismiss) - pushwire.MaxHashes; extra > 0 {
		j.dismiss = append(j.dismiss[:0], j.dismiss[extra:]...)
	}
	switch j.state {
	case flying:
		j.again = true
	case idle:
		d.enqueue(j, time.Now())
	}
}

// job returns the job of a device. The caller holds mu.
func (d *Dispatcher) job(id registration.ID) *job {
	j := d.jobs[id]
	if j == nil {
		j = &job{id: id}
		d.jobs[id] = j
	}
	return j
}
