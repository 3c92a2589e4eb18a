package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/pushext/emulate"
	"whisperpush/testutil/faultproxy"
)

const (
	registering = 24               // devices that register at a time
	startTime   = 2 * time.Minute  // for one device to register
	patience    = 60 * time.Second // for what is still missing when everything is written
)

// run is a run under way.
type run struct {
	Options
	plan     plan
	services map[string]*emulate.Instance
	proxies  []*faultproxy.Proxy // one for each network, then one for each direct device
	node     *node
	writer   *writer
	devices  []*device
	ledger   *ledger

	stops []func()
}

// Run makes one run. The error says why it could not be made, not how it went.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &run{Options: o, services: make(map[string]*emulate.Instance)}
	defer func() {
		for i := len(r.stops) - 1; i >= 0; i-- {
			r.stops[i]()
		}
	}()
	if err := r.build(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := r.register(ctx); err != nil {
		return nil, err
	}
	r.say("%d devices registered over Wi-Fi, 4G and 2G in %v", len(r.devices), time.Since(began).Round(time.Second))
	report := &Report{Options: o, Ways: ways(emulate.Types())}
	if err := r.measure(ctx, report); err != nil {
		return nil, err
	}
	report.FullRange, err = r.baseline(ctx)
	if err != nil {
		return nil, fmt.Errorf("the comparison with full-range fetches: %w", err)
	}
	err = r.node.stop(false)
	report.serverView(r.node)
	return report, err
}

func (r *run) say(what string, args ...any) {
	if r.Progress != nil {
		fmt.Fprintf(r.Progress, what+"\n", args...)
	}
}

// build starts everything but the devices.
func (r *run) build() error {
	dir, err := os.MkdirTemp("", "whisperpush-slo-")
	if err != nil {
		return err
	}
	r.stops = append(r.stops, func() { os.RemoveAll(dir) })
	tables := ""
	for _, kind := range emulate.Types() {
		service, err := emulate.Start(kind, "")
		if err != nil {
			return err
		}
		r.stops = append(r.stops, service.Close)
		r.services[kind] = service
		paths, err := emulate.WriteFiles(dir, service.Files)
		if err != nil {
			return err
		}
		tables += service.Table(paths) + "\n"
	}
	tables += fmt.Sprintf("[[Push.Provider]]\nType = %q\n", direct)
	if r.writer, err = newWriter(); err != nil {
		return err
	}
	r.stops = append(r.stops, r.writer.close)
	if r.node, err = newNode(dir, tables, r.writer.self, r.ServerLog); err != nil {
		return err
	}
	if err := r.node.start(); err != nil {
		return err
	}
	r.stops = append(r.stops, func() { r.node.stop(true) })
	for _, profile := range networks() {
		if _, err := r.listen(profile); err != nil {
			return err
		}
	}
	r.plan = newPlan(r.Options, emulate.Types())
	r.ledger = newLedger(r.Messages)
	return nil
}

// listen adds a network in front of the server.
func (r *run) listen(profile faultproxy.Profile) (*faultproxy.Proxy, error) {
	proxy, err := faultproxy.Listen(r.node.addr(), profile, r.Seed+uint64(len(r.proxies)))
	if err != nil {
		return nil, err
	}
	r.stops = append(r.stops, proxy.Close)
	r.proxies = append(r.proxies, proxy)
	return proxy, nil
}

// through is the server's enode URL through a proxy.
func (r *run) through(p *faultproxy.Proxy) string {
	_, port, _ := net.SplitHostPort(p.Addr())
	number, _ := strconv.Atoi(port)
	return enode.NewV4(r.node.self.Pubkey(), net.IPv4(127, 0, 0, 1), number, 0).URLv4()
}

// register registers all devices, some at a time.
func (r *run) register(ctx context.Context) error {
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, registering)
		mu    sync.Mutex // guards errs
		errs  []error
	)
	for i, phone := range r.plan.phones {
		proxy := r.proxies[phone.network]
		if phone.direct {
			var err error
			if proxy, err = r.listen(networks()[phone.network]); err != nil {
				return err
			}
		}
		d, err := newDevice(i, phone, proxy, r.services[phone.service], r.ledger)
		if err != nil {
			return err
		}
		r.devices = append(r.devices, d)
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, startTime)
			defer cancel()
			if err := d.register(ctx, r.through(proxy), r.node.pushKey); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("a device of %s on %s did not register: %w", d.route.Provider, d.network.Name, err))
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("%d devices failed, the first: %w", len(errs), errs[0])
	}
	return nil
}

// measure writes and breaks what the plan says, and waits until everything is
// shown, or patience runs out.
func (r *run) measure(ctx context.Context, report *Report) error {
	total, kept := r.linkBytes()
	began := time.Now()
	asleep, end := context.WithCancel(ctx)
	var devices sync.WaitGroup
	for _, d := range r.devices {
		devices.Go(func() { d.live(asleep, began) })
	}
	defer devices.Wait()
	defer end()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		if err := r.writer.writeAll(ctx, r.plan, r.devices, began); err != nil {
			cancel(err)
		}
	})
	for _, f := range r.plan.faults {
		work.Go(func() {
			pause(ctx, time.Until(began.Add(f.at)))
			if err := r.breakIt(ctx, f); err != nil {
				cancel(err)
			}
		})
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	deadline := time.NewTimer(r.Duration + patience)
	defer deadline.Stop()
	for waiting := true; waiting; {
		select {
		case <-r.ledger.done:
			waiting = false
		case <-deadline.C:
			waiting = false
		case <-tick.C:
			written, shown := r.ledger.progress()
			r.say("%4.0f s: %d written, %d shown", time.Since(began).Seconds(), written, shown)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	report.Took = time.Since(began)
	end()
	devices.Wait() // what they fetch a second time counts too
	report.read(r.ledger, r.plan.phones)
	totalNow, keptNow := r.linkBytes()
	report.LinkBytes, report.KeptBytes = totalNow-total, keptNow-kept
	for _, p := range r.proxies {
		report.Resets += p.Resets()
	}
	return nil
}

// linkBytes returns the bytes that went through all networks, and of those the
// bytes of devices with a link.
func (r *run) linkBytes() (total, kept int64) {
	for i, p := range r.proxies {
		up, down := p.Bytes()
		total += up + down
		if i >= len(networks()) {
			kept += up + down
		}
	}
	return total, kept
}

// breakIt makes a fault happen.
func (r *run) breakIt(ctx context.Context, f fault) error {
	if ctx.Err() != nil {
		return nil
	}
	began := time.Now()
	r.ledger.broke(trouble{from: began, until: began.Add(f.length), provider: f.provider, what: f.what})
	if f.provider == "" {
		r.say("      the server %s", f.what)
		if err := r.node.stop(f.kill); err != nil {
			return err
		}
		if err := r.node.start(); err != nil {
			return err
		}
		for _, p := range r.proxies {
			p.SetTarget(r.node.addr())
		}
		r.say("      the server is back after %v", time.Since(began).Round(time.Millisecond))
		return nil
	}
	r.say("      %s %s for %v", f.provider, f.what, f.length)
	r.services[f.provider].Script("", f.answer)
	pause(ctx, f.length)
	r.services[f.provider].Script("")
	return nil
}
