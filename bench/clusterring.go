package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/jackc/pgx/v5"

	"whisperpush/postgres"
	"whisperpush/whisper"
)

// clusterRingRate is how many envelopes a second arrive, at random moments: as many as three
// nodes, their database, the sender and the push service handle on two cores with time to
// spare. Each arrives at one node, and is for a device whose shard may be at any node.
const clusterRingRate = 200

// commits makes rows durable one at a time, on one connection, in a table like the
// archive's.
type commits struct {
	conn *pgx.Conn
	envs []*whisper.Envelope
	next int
}

// commits connects to the bed's database and prepares count envelopes.
func (b *bed) commits(ctx context.Context, count int) (*commits, error) {
	envs, err := mail(count, func(i int) whisper.Topic { return channelTopic(i) })
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, b.full)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "CREATE SCHEMA bare; CREATE TABLE bare.log (LIKE "+postgres.Schema+".log_1 INCLUDING ALL)"); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return &commits{conn: conn, envs: envs}, nil
}

func (c *commits) write(ctx context.Context) error {
	if c.next == len(c.envs) {
		return fmt.Errorf("more than %d samples", len(c.envs))
	}
	c.next++
	return insertBare(ctx, c.conn, int64(c.next), c.envs[c.next-1:c.next])
}

// clusterRing times wake-ups of one node and of several on PostgreSQL, from the moment when
// an envelope's packet is written to the first FCM request that names it, compared with one
// commit of a row and one POST.
func (s *suite) clusterRing(ctx context.Context) error {
	count := int(clusterRingRate * s.ringFor / time.Second)
	devices := max(count/ringsPerDevice, 1)
	b, err := s.newBed(ctx, 2*devices, 1)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.start(ctx, 1); err != nil { // makes the tables
		return err
	}
	b.stop()
	rows, err := b.commits(ctx, 4*floorSamples)
	if err != nil {
		return err
	}
	defer rows.conn.Close(ctx)
	bare, err := newYardstick(ctx, rows.write, b.service)
	if err != nil {
		return err
	}
	defer bare.close()
	if err := bare.alone(ctx); err != nil {
		return err
	}
	one, _, err := b.ring(ctx, 1, 0, devices, count)
	if err != nil {
		return err
	}
	before := readClock()
	waits, late, err := b.ring(ctx, severalNodes, devices, devices, count)
	if err != nil {
		return err
	}
	var busy float64
	for _, d := range before.sharesSince() {
		if d.name == "ring_busy" {
			busy = d.value
		}
	}
	if err := bare.alone(ctx); err != nil {
		return err
	}
	floor := bare.take().floor()
	s.report.add("cluster_ring_p50_vs_floor", median(waits)/floor.both(), detail{"cluster_ring_p50", median(waits), "ms"},
		detail{"cluster_ring_p99", quantile(waits, 0.99), "ms"}, detail{"cluster_ring_p50_one", median(one), "ms"},
		detail{"cluster_ring_p99_one", quantile(one, 0.99), "ms"}, detail{"cluster_ring_floor", floor.both(), "ms"},
		detail{"cluster_ring_floor_commit", floor.durable, "ms"}, detail{"cluster_ring_floor_post", floor.post, "ms"},
		detail{"cluster_ring_busy", busy, "%"})
	s.report.add("cluster_ring_late", float64(late)/float64(count), detail{"cluster_ring_envelopes", float64(count), "envelopes"},
		detail{"cluster_ring_rate", clusterRingRate, "envelopes/s"})
	return nil
}

// ring makes nodes wake devices, each ringsPerDevice times, and returns how long each
// wake-up took in milliseconds, and how many were late.
func (b *bed) ring(ctx context.Context, nodes, first, devices, count int) (waits []float64, late int, err error) {
	load, hashes, _, err := ringLoad(count, devices, first, 5*clusterRingRate, b.s.seed)
	if err != nil {
		return nil, 0, err
	}
	if err := b.start(ctx, nodes); err != nil {
		return nil, 0, err
	}
	defer b.stop()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	sent, err := b.send(ctx, load, clusterRingRate)
	if err != nil {
		return nil, 0, err
	}
	rung, err := b.s.rings(ctx, b.service, b.tokens[first:first+devices], b.r.private, count)
	if err != nil {
		return nil, 0, err
	}
	waits, late = waitsOf(sent, hashes, rung)
	return waits, late, nil
}

// send sends packets to the nodes in turn, at random moments at a rate, or as fast as they
// are taken if rate is 0. It returns when each was sent.
func (b *bed) send(ctx context.Context, load [][]byte, rate float64) ([]time.Time, error) {
	return sendAtRandom(ctx, rand.New(rand.NewPCG(uint64(b.s.seed), 7)), load, rate, func(i int, packet []byte) error {
		to := i % len(b.links)
		return b.nodes[to].bring(b.links[to], packet)
	})
}

// clusterWakeups makes one, two and three nodes in turn wake devices as fast as they can:
// each envelope arrives at one of the nodes and is for another device. All nodes, their
// database, the sender and the push service share this machine's cores, so more nodes do not
// have more processor time; the result shows what dividing the work costs.
func (s *suite) clusterWakeups(ctx context.Context) error {
	rounds := max(s.pairs, 2)
	b, err := s.newBed(ctx, rounds*severalNodes*s.woken, 1)
	if err != nil {
		return err
	}
	defer b.close()
	rates := make([][]float64, severalNodes+1)
	first := 0
	for range rounds {
		for nodes := 1; nodes <= severalNodes; nodes++ {
			rate, err := b.wakeups(ctx, nodes, first, s.woken)
			if err != nil {
				return err
			}
			s.say("  %d nodes: %.0f/s", nodes, rate)
			rates[nodes] = append(rates[nodes], rate)
			first += s.woken
		}
	}
	var details []detail
	for nodes := 1; nodes <= severalNodes; nodes++ {
		details = append(details, detail{"cluster_wakeups_" + strconv.Itoa(nodes), median(rates[nodes]), "wake-ups/s"})
	}
	s.report.add("cluster_wakeups_ratio", ratio(rates[severalNodes], rates[1]), append(details, detail{"cluster_wakeups_devices", float64(s.woken), "devices"})...)
	return nil
}

// wakeups returns how many devices a second the nodes wake.
func (b *bed) wakeups(ctx context.Context, nodes, first, count int) (float64, error) {
	load, hashes, _, err := ringLoad(count, count, first, 1, b.s.seed)
	if err != nil {
		return 0, err
	}
	if err := b.start(ctx, nodes); err != nil {
		return 0, err
	}
	defer b.stop()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := b.service.Accepted()
	sent, err := b.send(ctx, load, 0)
	if err != nil {
		return 0, err
	}
	if err := b.accepted(ctx, before+count); err != nil {
		return 0, err
	}
	last, err := b.lastOf(ctx, b.tokens[first:first+count], hashes)
	if err != nil {
		return 0, err
	}
	return float64(count) / last.Sub(sent[0]).Seconds(), nil
}

// wakingStalls is how long nothing may happen before the run is given up.
const wakingStalls = 30 * time.Second

// accepted waits until the push service has accepted a number of pushes. It does not look
// into them meanwhile: that would distort the measurement.
func (b *bed) accepted(ctx context.Context, pushes int) error {
	last, since := 0, time.Now()
	for {
		now := b.service.Accepted()
		if now >= pushes {
			return nil
		}
		if now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > wakingStalls {
			return fmt.Errorf("%d of %d wake-ups came, and none since %v; a node says:\n%s", now, pushes, wakingStalls, b.nodes[0].log)
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lastOf waits until all envelopes were named to the devices and returns when the last one
// was.
func (b *bed) lastOf(ctx context.Context, tokens []string, hashes []common.Hash) (last time.Time, err error) {
	rung, err := b.s.rings(ctx, b.service, tokens, b.r.private, len(hashes))
	if err != nil {
		return last, err
	}
	for _, h := range hashes {
		at, ok := rung[h]
		if !ok {
			return last, fmt.Errorf("%d of %d envelopes were woken for", len(rung), len(hashes))
		}
		if at.After(last) {
			last = at
		}
	}
	return last, nil
}
