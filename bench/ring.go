package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"golang.org/x/sync/errgroup"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
	"whisperpush/pushext/pushwire"
)

const (
	// ringRate is how many envelopes a second arrive, each for one device. They arrive
	// one by one at random moments, as from many senders.
	ringRate = 2000
	// ringsPerDevice is how many envelopes each device is woken for. It is below the 20
	// at once that a device's budget allows, because budgets are not measured here.
	ringsPerDevice = 10
	// ringSpan is how many consecutive envelopes those of one device are spread over, 5
	// s of them: chats come in bursts. So at any time a tenth of the wake-ups are the
	// first of a device, for which the node reads the registration.
	ringSpan = 5 * ringRate
	// promised is how long a wake-up may take before it is late.
	promised = 15 * time.Second
	// floorSamples is how often the floor is measured alone on the machine before the
	// load, and again after it. gaugeEvery is how often it is measured during the load.
	floorSamples = 300
	gaugeEvery   = 100 * time.Millisecond
)

// ring sends envelopes to a node, each of which somebody listens to, and times each
// from the moment when its packet is written to the first FCM request that names it.
// Nobody fetches, so every wake-up repeats the hashes of those before it.
func (s *suite) ring(ctx context.Context) error {
	service, err := emulate.StartFCM(emulate.FCMConfig{})
	if err != nil {
		return err
	}
	defer service.Close()
	dir, err := s.temp()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r, err := newRegistrar(dir, service)
	if err != nil {
		return err
	}
	count := int(ringRate * s.ringFor / time.Second)
	devices := max(count/ringsPerDevice, 1)
	tokens := make([]string, devices)
	for i := range tokens {
		tokens[i] = service.NewToken()
	}
	if err := r.fill(ctx, devices, 1, 0, func(i int) string { return tokens[i] }); err != nil {
		return err
	}
	load, hashes, owners, err := ringLoad(count, devices, 0, ringSpan, s.seed)
	if err != nil {
		return err
	}
	file, err := newSynced(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	bare, err := newYardstick(ctx, file.write, service)
	if err != nil {
		return err
	}
	defer bare.close()
	if err := bare.alone(ctx); err != nil {
		return err
	}
	before := bare.take()

	n, err := s.startNode(ctx, dir, "--push", "--config", r.path("node.toml"))
	if err != nil {
		return err
	}
	defer n.stop()
	l, err := dial(ctx, n.self)
	if err != nil {
		return n.explain(err)
	}
	defer l.close()

	// The same during the load, to separate the node's part from the machine's.
	var loaded errgroup.Group
	beside, end := context.WithCancel(ctx)
	defer end()
	loaded.Go(func() error { return bare.beside(beside) })

	// Sender and push service stand for other machines. Their garbage, and the hundreds
	// of MB of pushes that they keep, must not take the node's cores.
	runtime.GC()
	collect := debug.SetGCPercent(-1)
	defer debug.SetGCPercent(collect)

	resident := n.watchMemory(beside)
	began := readClock()
	sent, err := sendAtRandom(ctx, rand.New(rand.NewPCG(uint64(s.seed), 3)), load, ringRate, func(_ int, packet []byte) error { return n.bring(l, packet) })
	if err != nil {
		return err
	}
	shares := began.sharesSince()
	end()
	if err := loaded.Wait(); err != nil {
		return err
	}
	memory := <-resident
	busy := bare.take().floor()
	rung, err := s.rings(ctx, service, tokens, r.private, count)
	if err != nil {
		return err
	}
	l.close()
	n.stop()
	pushes := service.Accepted() - bare.pushes
	debug.SetGCPercent(collect) // as it was before the load
	runtime.GC()
	if err := bare.alone(ctx); err != nil {
		return err
	}
	floor := before.and(bare.take()).floor()
	waits, late := waitsOf(sent, hashes, rung)
	if err := s.keepSamples(sent, waits, owners); err != nil {
		return err
	}
	s.report.add("ring_p50_vs_floor", median(waits)/floor.both(), detail{"ring_p50", median(waits), "ms"},
		detail{"ring_floor", floor.both(), "ms"}, detail{"ring_floor_fsync", floor.durable, "ms"}, detail{"ring_floor_post", floor.post, "ms"},
		detail{"ring_floor_beside_load", busy.both(), "ms"}, detail{"ring_floor_beside_load_fsync", busy.durable, "ms"})
	s.report.add("ring_p99_vs_floor", quantile(waits, 0.99)/floor.both(), append([]detail{{"ring_p99", quantile(waits, 0.99), "ms"},
		{"ring_max", quantile(waits, 1), "ms"}}, shares...)...)
	s.report.add("ring_late", float64(late)/float64(count), detail{"ring_envelopes", float64(count), "envelopes"},
		detail{"ring_devices", float64(devices), "devices"}, detail{"ring_pushes", float64(pushes), "pushes"})
	s.report.add("rss_ringing", memory, detail{"rss_ringing_rate", ringRate, "envelopes/s"})
	return nil
}

// keepSamples writes a line for each wake-up, if that was requested: when its envelope
// was sent, in milliseconds of the clock, how many milliseconds the wake-up took, and
// the number of its device.
func (s *suite) keepSamples(sent []time.Time, waits []float64, owners []int) error {
	if s.wakeups == "" {
		return nil
	}
	var b bytes.Buffer
	for i, at := range sent {
		fmt.Fprintf(&b, "%.3f %.3f %d\n", float64(at.UnixMicro())/1000, waits[i], owners[i])
	}
	return os.WriteFile(s.wakeups, b.Bytes(), 0o644)
}

// ringLoad makes the packets, the hashes of their envelopes, and the devices they are
// for, in order; devices are numbered from first on. The envelopes for a device are
// spread at random over span envelopes.
func ringLoad(count, devices, first int, span float64, seed int64) (load [][]byte, hashes []common.Hash, owners []int, err error) {
	type arrival struct {
		device int
		at     float64
	}
	choice := rand.New(rand.NewPCG(uint64(seed), 4))
	arrivals := make([]arrival, count)
	for i := range arrivals {
		device := i * devices / count
		arrivals[i] = arrival{first + device, float64(device*ringsPerDevice) + span*choice.Float64()}
	}
	slices.SortFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	for _, a := range arrivals {
		owners = append(owners, a.device)
	}
	load, hashes, err = envelopesFor(owners)
	return load, hashes, owners, err
}

// envelopesFor makes an envelope for each of the channels, in packets of one, and
// returns their hashes too.
func envelopesFor(channels []int) (load [][]byte, hashes []common.Hash, err error) {
	expiry := uint32(time.Now().Unix()) + loadTTL
	raws := make([][]byte, len(channels))
	for i, channel := range channels {
		data := make([]byte, dataSize)
		copy(data, crypto.Keccak256(fmt.Append(nil, i))) // the rest is zeros: random bytes would only slow down the sender
		if raws[i], err = rlp.EncodeToBytes([]any{expiry, uint32(loadTTL), channelTopic(channel), data, uint64(i)}); err != nil {
			return nil, nil, err
		}
		hashes = append(hashes, crypto.Keccak256Hash(raws[i]))
	}
	load, err = packets(raws, 1)
	return load, hashes, err
}

// rings waits until all envelopes were named in a push, or the last of them is late,
// and returns when each was first named.
func (s *suite) rings(ctx context.Context, service *emulate.FCM, tokens []string, private []byte, all int) (map[common.Hash]time.Time, error) {
	first := make(map[common.Hash]time.Time, all)
	deadline := time.Now().Add(promised + time.Second)
	var failure error
	for len(first) < all && time.Now().Before(deadline) {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		for _, token := range tokens {
			drain(service.Pushes(token), func(p emulate.Push) {
				payload, err := pushwire.OpenPayload(p.Body, private)
				if err != nil {
					failure = err
					return
				}
				for _, h := range payload.Hashes {
					if at, ok := first[h]; !ok || p.At.Before(at) {
						first[h] = p.At
					}
				}
			})
		}
		if failure != nil {
			return nil, failure
		}
	}
	return first, nil
}

// drain takes everything that waits in a device's channel.
func drain(pushes <-chan emulate.Push, take func(emulate.Push)) {
	for {
		select {
		case p := <-pushes:
			take(p)
		default:
			return
		}
	}
}

// floor is the least that a wake-up costs, in milliseconds, one at a time: making the
// envelope durable, and notifying the push service.
type floor struct{ durable, post float64 }

func (f floor) both() float64 { return f.durable + f.post }

// yardstick measures the floor.
type yardstick struct {
	write  func(context.Context) error // makes an envelope durable
	poster *poster
	pushes int // taken by the service

	samples // since the last take
}

// samples are measurements of both parts of the floor, in milliseconds.
type samples struct{ writes, posts []float64 }

func (a samples) and(b samples) samples {
	return samples{slices.Concat(a.writes, b.writes), slices.Concat(a.posts, b.posts)}
}

func (a samples) floor() floor { return floor{median(a.writes), median(a.posts)} }

func newYardstick(ctx context.Context, write func(context.Context) error, service *emulate.FCM) (*yardstick, error) {
	poster, err := newPoster(ctx, service, service.NewToken()) // a token that FCM will throttle
	if err != nil {
		return nil, err
	}
	return &yardstick{write: write, poster: poster, pushes: 1}, nil
}

func (y *yardstick) close() { y.poster.client.CloseIdleConnections() }

// synced is a file to which envelopes are written, each with an fsync.
type synced struct {
	*os.File
	record []byte
}

func newSynced(dir string) (synced, error) {
	file, err := os.Create(filepath.Join(dir, "floor"))
	return synced{file, make([]byte, dataSize+60)}, err
}

func (s synced) write(context.Context) error {
	if _, err := s.Write(s.record); err != nil {
		return err
	}
	return s.Sync()
}

// sample measures once.
func (y *yardstick) sample(ctx context.Context) error {
	start := time.Now()
	if err := y.write(ctx); err != nil {
		return err
	}
	y.writes = append(y.writes, milliseconds(time.Since(start)))
	start = time.Now()
	if err := y.poster.post(ctx); err != nil {
		return err
	}
	y.posts = append(y.posts, milliseconds(time.Since(start)))
	y.pushes++
	return nil
}

// alone takes samples with nothing else running.
func (y *yardstick) alone(ctx context.Context) error {
	for range floorSamples {
		if err := y.sample(ctx); err != nil {
			return err
		}
	}
	return nil
}

// beside takes samples from time to time until ctx ends.
func (y *yardstick) beside(ctx context.Context) error {
	tick := time.NewTicker(gaugeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := y.sample(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
}

// take returns the samples, and starts over.
func (y *yardstick) take() samples {
	taken := y.samples
	y.samples = samples{}
	return taken
}

// poster posts one FCM message again and again with net/http alone.
type poster struct {
	client *http.Client
	url    string
	access string
	body   []byte
}

// newPoster makes the provider push once, and posts that request from then on.
func newPoster(ctx context.Context, service *emulate.FCM, token string) (*poster, error) {
	provider, n, err := providerFor(service, token)
	if err != nil {
		return nil, err
	}
	if v := provider.Push(ctx, n); v.Class != pushext.Delivered {
		return nil, fmt.Errorf("the emulated FCM did not take a push: %s", v.Reason)
	}
	received := service.Received()
	return &poster{
		client: newClient(),
		url:    service.Endpoint() + "/projects/" + service.ProjectID() + "/messages:send",
		access: service.NewAccess(),
		body:   received[len(received)-1].Raw,
	}, nil
}

// newClient posts over as many connections as a node does.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pushers, MaxConnsPerHost: pushers}}
}

func (p *poster) post(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(p.body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+p.access)
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct{ Name string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || answer.Name == "" {
		return fmt.Errorf("the emulated FCM answered %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// pushers is how many pushes are under way at once, as in a node.
const pushers = 64

// providerFor returns the FCM provider and a notification of the usual size.
func providerFor(service *emulate.FCM, token string) (*fcm.Provider, pushext.Notification, error) {
	_, public, err := pushwire.NewSealKey()
	if err != nil {
		return nil, pushext.Notification{}, err
	}
	body, err := pushwire.SealPayload(pushwire.Payload{Kind: pushwire.Messages, Seq: 1, Hashes: make([]common.Hash, 1)}, public)
	if err != nil {
		return nil, pushext.Notification{}, err
	}
	provider, err := fcm.New(fcm.Config{Endpoint: service.Endpoint(), CredentialsJSON: service.CredentialsJSON()})
	return provider, pushext.Notification{
		Address: pushext.Address{Token: token}, Body: body, CollapseID: strings.Repeat("c", 22), TTL: 24 * time.Hour, Urgent: true, ID: strings.Repeat("i", 22),
	}, err
}

// pushThroughput compares the FCM provider with a bare loop that posts the same
// bodies to the same emulator over as many connections.
func (s *suite) pushThroughput(ctx context.Context) error {
	service, err := emulate.StartFCM(emulate.FCMConfig{})
	if err != nil {
		return err
	}
	defer service.Close()
	token := service.NewToken()
	provider, n, err := providerFor(service, token)
	if err != nil {
		return err
	}
	bare, err := newPoster(ctx, service, token)
	if err != nil {
		return err
	}
	defer bare.client.CloseIdleConnections()
	ours := func() (float64, error) {
		return s.rate(func() error {
			if v := provider.Push(ctx, n); v.Class != pushext.Delivered {
				return fmt.Errorf("a push was not delivered: %s", v.Reason)
			}
			return nil
		})
	}
	theirs := func() (float64, error) { return s.rate(func() error { return bare.post(ctx) }) }
	if _, _, err := pairs(1, ours, theirs); err != nil { // to connect
		return err
	}
	as, bs, err := pairs(max(s.pairs, 3), ours, theirs)
	if err != nil {
		return err
	}
	s.report.add("push_vs_http", ratio(as, bs), detail{"push_ours", median(as), "pushes/s"}, detail{"push_http", median(bs), "pushes/s"})
	return nil
}

// rate is how often per second as many goroutines as pushers can call fn.
func (s *suite) rate(fn func() error) (float64, error) {
	var workers sync.WaitGroup
	failures := make(chan error, pushers)
	start := time.Now()
	for w := range pushers {
		workers.Go(func() {
			for i := w; i < s.pushes; i += pushers {
				if err := fn(); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-failures:
		return 0, err
	default:
		return float64(s.pushes) / time.Since(start).Seconds(), nil
	}
}
