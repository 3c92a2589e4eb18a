package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/pushext/emulate"
)

const (
	// sustainedP99 is how long a wake-up may take at a rate that counts as sustained, at
	// the 99th percentile.
	sustainedP99 = 250 * time.Millisecond
	// sustainFrom is the rate at which the search begins, and sustainStep the factor to
	// the next rate: upward, or downward as long as no rate was sustained. Between the
	// highest rate that was sustained and the lowest that was not, sustainHalves more
	// rates are tried.
	sustainFrom   = 6000
	sustainStep   = 1.5
	sustainHalves = 3
	// sustainLeast and sustainMost bound the search.
	sustainLeast = 500
	sustainMost  = 60_000
)

// sustained finds the highest rate of first wake-ups that a node sustains, each for an
// envelope of its own and a device not woken before, and the processor time that each
// takes. It compares both with a bare loop that fsyncs and posts as many.
func (s *suite) sustained(ctx context.Context) error {
	w, err := s.newWaker(ctx)
	if err != nil {
		return err
	}
	defer w.close()

	items := int(sustainFrom * s.sustainFor.Seconds())
	loop, err := w.bare(ctx, items)
	if err != nil {
		return err
	}
	best, bad := 0.0, 0.0
	var at wakeResult
	for rate, halves := float64(sustainFrom), sustainHalves; rate <= sustainMost && rate >= sustainLeast; {
		r, err := w.run(ctx, rate, s.sustainFor)
		if errors.Is(err, errNoDevices) {
			break
		}
		if err != nil {
			return err
		}
		s.say("  %.0f/s: p99 %v, %d missing, %.0f µs each", rate, r.p99.Round(time.Millisecond), r.missing, 1e6*r.cpu)
		if r.keptUp() {
			best, at = rate, r
		} else {
			bad = rate
		}
		switch {
		case bad == 0:
			rate *= sustainStep
			continue
		case best == 0:
			rate /= sustainStep
			continue
		}
		rate = (best + bad) / 2
		if halves--; halves < 0 {
			rate = 0 // enough rates were tried
		}
	}
	if best == 0 {
		return fmt.Errorf("the node does not keep up %d first wake-ups a second", sustainLeast)
	}
	again, err := w.bare(ctx, items)
	if err != nil {
		return err
	}
	floor := median([]float64{loop.rate, again.rate})
	floorCPU := median([]float64{loop.cpu, again.cpu})
	s.report.add("ring_sustained", best/floor, detail{"ring_sustained_rate", best, "wake-ups/s"},
		detail{"ring_sustained_p99", milliseconds(at.p99), "ms"}, detail{"ring_sustained_floor", floor, "items/s"},
		detail{"ring_sustained_seconds", s.sustainFor.Seconds(), "s"})
	s.report.add("ring_cpu_vs_floor", at.cpu/floorCPU, detail{"ring_cpu", 1e6 * at.cpu, "µs"}, detail{"ring_cpu_floor", 1e6 * floorCPU, "µs"})
	return nil
}

// errNoDevices says that all registered devices have been woken.
var errNoDevices = errors.New("no device is left that was not woken")

// waker wakes devices of one node, each once.
type waker struct {
	s       *suite
	dir     string
	service *emulate.FCM
	r       *registrar
	n       *node
	l       *link
	tokens  []string
	next    int // the first device that was not woken
}

func (s *suite) newWaker(ctx context.Context) (w *waker, err error) {
	w = &waker{s: s}
	defer func() {
		if err != nil {
			w.close()
			w = nil
		}
	}()
	if w.service, err = emulate.StartFCM(emulate.FCMConfig{}); err != nil {
		return w, err
	}
	if w.dir, err = s.temp(); err != nil {
		return w, err
	}
	if w.r, err = newRegistrar(w.dir, w.service); err != nil {
		return w, err
	}
	w.tokens = make([]string, s.sustainDevices)
	for i := range w.tokens {
		w.tokens[i] = w.service.NewToken()
	}
	if err = w.r.fill(ctx, len(w.tokens), 1, 0, func(i int) string { return w.tokens[i] }); err != nil {
		return w, err
	}
	if w.n, err = s.startNode(ctx, w.dir, "--push", "--config", w.r.path("node.toml")); err != nil {
		return w, err
	}
	if w.l, err = dial(ctx, w.n.self); err != nil {
		return w, w.n.explain(err)
	}
	return w, nil
}

func (w *waker) close() {
	if w.l != nil {
		w.l.close()
	}
	if w.n != nil {
		w.n.stop()
	}
	if w.service != nil {
		w.service.Close()
	}
	if w.dir != "" {
		os.RemoveAll(w.dir)
	}
}

// wakeResult is the result of a run.
type wakeResult struct {
	count, missing int
	p99            time.Duration
	cpu            float64 // the node's processor time for each wake-up, in seconds
}

func (r wakeResult) keptUp() bool { return r.missing == 0 && r.p99 <= sustainedP99 }

// run sends one envelope to each of the next devices, at random moments at a rate, and
// waits until all were woken, or are late.
func (w *waker) run(ctx context.Context, rate float64, span time.Duration) (r wakeResult, err error) {
	r.count = int(rate * span.Seconds())
	if w.next+r.count > len(w.tokens) {
		return r, fmt.Errorf("%w: %d of %d, and %d more are needed", errNoDevices, w.next, len(w.tokens), r.count)
	}
	tokens := w.tokens[w.next : w.next+r.count]
	load, hashes, err := w.load(r.count)
	if err != nil {
		return r, err
	}
	w.next += r.count

	// The sender's garbage must not take the node's cores.
	runtime.GC()
	collect := debug.SetGCPercent(-1)
	defer debug.SetGCPercent(collect)
	cpu := w.n.cpu()
	sent, err := sendAtRandom(ctx, rand.New(rand.NewPCG(uint64(w.s.seed), uint64(w.next))), load, rate, func(_ int, packet []byte) error { return w.n.bring(w.l, packet) })
	if err != nil {
		return r, err
	}
	rung, err := w.s.rings(ctx, w.service, tokens, w.r.private, r.count)
	if err != nil {
		return r, err
	}
	r.cpu = (w.n.cpu() - cpu).Seconds() / float64(r.count)
	waits := make([]float64, r.count)
	for i, h := range hashes {
		at, ok := rung[h]
		if !ok {
			r.missing++
			at = sent[i].Add(promised)
		}
		waits[i] = at.Sub(sent[i]).Seconds()
	}
	r.p99 = time.Duration(quantile(waits, 0.99) * float64(time.Second))
	return r, nil
}

// load makes an envelope for each of the next devices, in packets of one.
func (w *waker) load(count int) (load [][]byte, hashes []common.Hash, err error) {
	expiry := uint32(time.Now().Unix()) + loadTTL
	raws := make([][]byte, count)
	for i := range raws {
		data := make([]byte, dataSize)
		copy(data, crypto.Keccak256(fmt.Append(nil, w.next+i)))
		if raws[i], err = rlp.EncodeToBytes([]any{expiry, uint32(loadTTL), channelTopic(w.next + i), data, uint64(i)}); err != nil {
			return nil, nil, err
		}
		hashes = append(hashes, crypto.Keccak256Hash(raws[i]))
	}
	load, err = packets(raws, 1)
	return load, hashes, err
}

// bareResult is a bare loop's rate, and its processor time per item in seconds.
type bareResult struct{ rate, cpu float64 }

// bare runs the bare loop for as many items.
func (w *waker) bare(ctx context.Context, items int) (bareResult, error) {
	p, err := newPoster(ctx, w.service, w.service.NewToken())
	if err != nil {
		return bareResult{}, err
	}
	loop, err := startBare(ctx, "rings", bareTask{URL: p.url, Access: p.access, Body: p.body, File: filepath.Join(w.dir, "floor"), Items: items})
	if err != nil {
		return bareResult{}, err
	}
	d, err := loop.done()
	return bareResult{float64(items) / d.Seconds, d.CPU / float64(items)}, err
}

// wireReader compares the path from the wire to the disk with a bare reader that
// decrypts, hashes and drops the same packets.
func (s *suite) wireReader(ctx context.Context) error {
	path, err := s.envelopes(ctx, s.fresh(s.ingest, 1000))
	if err != nil {
		return err
	}
	raws, err := readRaw(path)
	if err != nil {
		return err
	}
	load, err := packets(raws, perPacket)
	if err != nil {
		return err
	}
	ours := func() (float64, error) { return s.ingestOurs(ctx, load, len(raws)) }
	reader := func() (float64, error) {
		loop, err := startBare(ctx, "rlpx", len(raws))
		if err != nil {
			return 0, err
		}
		url, err := loop.line()
		if err != nil {
			return 0, err
		}
		self, err := enode.ParseV4(url)
		if err != nil {
			loop.kill()
			return 0, err
		}
		start, err := flood(ctx, self, load, func() error {
			_, err := loop.done()
			return err
		})
		return float64(len(raws)) / time.Since(start).Seconds(), err
	}
	as, bs, err := pairs(s.pairs, ours, reader)
	if err != nil {
		return err
	}
	s.report.add("wire_vs_rlpx", ratio(as, bs), detail{"wire_ours", median(as), "envelopes/s"}, detail{"wire_rlpx", median(bs), "envelopes/s"})
	return nil
}
