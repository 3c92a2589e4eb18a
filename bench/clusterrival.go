package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"whisperpush/testutil/rival"
)

// Names of the results beside XMTP's notification server.
const (
	rivalTenth = "cluster_vs_rival_tenth"
	rivalAll   = "cluster_vs_rival_all"
)

// noRival says why these results are missing.
const noRival = "Left out: " + rivalTenth + ", " + rivalAll + ". They need a checkout of github.com/xmtp/example-notification-server-go, which is not part of this tree: go run ./bench -cluster -rival DIRECTORY."

// rivalResults separates the results beside the rival from the others.
func rivalResults(all []result) (beside, others []result) {
	for _, r := range all {
		if r.name == rivalTenth || r.name == rivalAll {
			beside = append(beside, r)
		} else {
			others = append(others, r)
		}
	}
	return beside, others
}

// rivalWorkers are the numbers of workers of which the rival's best counts; 0 is its own choice.
// Its PostgreSQL and HTTP clients keep only two idle connections each, so few workers may be
// faster than many.
var rivalWorkers = []int{2, 4, 8, 16, 0}

// contest is our node and the rival with the same subscriptions.
type contest struct {
	b        *bed
	receiver *receiver
	programs rival.Programs
	database string // the rival's, with the password
	devices  int
	channels int // of each device
}

// clusterRival makes one of our nodes and the rival, in turns, take envelopes as fast as they
// can and notify the devices that the envelopes are for. Both have the same subscriptions, in
// databases of one PostgreSQL server, and post to the same receiver. The time ends when the
// receiver has seen every device that an envelope was for. The last envelope is for such a
// device, so the time covers all envelopes.
func (s *suite) clusterRival(ctx context.Context) (err error) {
	if s.rival == "" {
		s.report.left = append(s.report.left, noRival)
		s.say("  %s", noRival)
		return nil
	}
	rounds := max(s.pairs, 3)
	kinds := []struct {
		name         string
		count, every int // envelopes, and one of how many is for a device
	}{{rivalTenth, 4 * s.woken / 10 * 10, 10}, {rivalAll, s.woken, 1}}
	devices := 0
	for _, k := range kinds {
		devices += rounds * k.count / k.every
	}
	c, err := s.newContest(ctx, devices, max(s.channels/devices, 1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	first := 0
	for _, k := range kinds {
		workers, rates, err := c.bestWorkers(ctx, k.count/4/k.every*k.every, k.every, first)
		if err != nil {
			return err
		}
		next := first // of our devices: each is woken once
		ours := func() (float64, error) {
			rate, err := c.ours(ctx, k.count, k.every, next)
			s.say("  ours: %.0f/s", rate)
			return rate, err
		}
		theirs := func() (float64, error) {
			rate, err := c.theirs(ctx, workers, k.count, k.every, next)
			s.say("  the rival: %.0f/s", rate)
			next += k.count / k.every
			return rate, err
		}
		as, bs, err := pairs(rounds, ours, theirs)
		if err != nil {
			return err
		}
		first = next
		s.report.add(k.name, ratio(as, bs), detail{k.name + "_ours", median(as), "envelopes/s"}, detail{k.name + "_rival", median(bs), "envelopes/s"},
			detail{k.name + "_rival_workers", float64(workers), "workers"}, detail{k.name + "_rival_by_itself", rates[len(rates)-1], "envelopes/s"},
			detail{k.name + "_envelopes", float64(k.count), "envelopes"}, detail{k.name + "_told", float64(k.count / k.every), "devices"},
			detail{k.name + "_subscriptions", float64(c.devices * c.channels), "subscriptions"})
	}
	return nil
}

// newContest gives both sides the same subscriptions.
func (s *suite) newContest(ctx context.Context, devices, channels int) (c *contest, err error) {
	c = &contest{devices: devices, channels: channels}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
			c = nil
		}
	}()
	if c.programs, err = rival.Build(ctx, s.rival, s.dir); err != nil {
		return c, err
	}
	if c.receiver, err = startReceiver(); err != nil {
		return c, err
	}
	if c.b, err = s.newBed(ctx, devices, channels); err != nil {
		return c, err
	}
	credentials, err := c.receiver.credentials(c.b.service)
	if err != nil {
		return c, err
	}
	settings, err := os.ReadFile(c.b.r.path("node.toml"))
	if err != nil {
		return c, err
	}
	for name, content := range map[string]string{
		"fcm.json":  string(credentials),
		"node.toml": strings.Replace(string(settings), c.b.service.Endpoint(), c.receiver.endpoint(), 1),
	} {
		if err := os.WriteFile(c.b.r.path(name), []byte(content), 0o600); err != nil {
			return c, err
		}
	}
	if c.database, err = s.postgres.Database(ctx); err != nil {
		return c, err
	}
	if err := s.openPublic(ctx, c.database); err != nil {
		return c, err
	}
	tables, err := c.start(ctx, 0) // makes the tables
	if err != nil {
		return c, err
	}
	tables.Stop()
	return c, rival.Fill(ctx, c.database, c.b.tokens, channels)
}

// openPublic lets the role of a database create tables in the schema public, where the rival has
// its own.
func (s *suite) openPublic(ctx context.Context, database string) error {
	u, err := url.Parse(database)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.postgres.Superuser(strings.TrimPrefix(u.Path, "/")))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "GRANT ALL ON SCHEMA public TO "+pgx.Identifier{u.User.Username()}.Sanitize())
	return err
}

func (c *contest) start(ctx context.Context, workers int) (*rival.Server, error) {
	return c.programs.Start(ctx, rival.Options{Database: c.database, Delivery: c.receiver.url, Workers: workers})
}

func (c *contest) close() (err error) {
	if c.b != nil {
		c.b.close()
	}
	if c.receiver != nil {
		err = c.receiver.close()
	}
	return err
}

// addressees returns the channels of envelopes of which one in every is for a device, and these
// devices, numbered from first on. Nobody has the channels of the other envelopes.
func (c *contest) addressees(count, every, first int) (channels []int, devices []string) {
	channels = make([]int, count)
	for i := range channels {
		if i%every != every-1 {
			channels[i] = c.devices*c.channels + i
			continue
		}
		device := first + i/every
		channels[i] = device * c.channels
		devices = append(devices, c.b.tokens[device])
	}
	return channels, devices
}

// ours returns how many envelopes a second our node archives and notifies devices of, over one
// link, each in a packet of its own.
func (c *contest) ours(ctx context.Context, count, every, first int) (float64, error) {
	channels, devices := c.addressees(count, every, first)
	load, _, err := envelopesFor(channels)
	if err != nil {
		return 0, err
	}
	if err := c.b.start(ctx, 1); err != nil {
		return 0, err
	}
	defer c.b.stop()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	c.receiver.expect(devices)
	sent, err := c.b.send(ctx, load, 0)
	if err != nil {
		return 0, err
	}
	last, _, err := c.receiver.come(ctx)
	if err != nil {
		return 0, c.b.nodes[0].explain(err)
	}
	if err := c.b.nodes[0].await(ctx, archivedTotal, float64(count)); err != nil {
		return 0, err
	}
	return float64(count) / last.Sub(sent[0]).Seconds(), nil
}

// theirs returns how many envelopes a second the rival takes from the stream that it listens to,
// and notifies devices of.
func (c *contest) theirs(ctx context.Context, workers, count, every, first int) (float64, error) {
	channels, devices := c.addressees(count, every, first)
	topics := make([]string, count)
	for i, channel := range channels {
		topics[i] = rival.Topic(channel)
	}
	server, err := c.start(ctx, workers)
	if err != nil {
		return 0, err
	}
	defer server.Stop()
	if err := server.Prepare(ctx, topics, dataSize); err != nil {
		return 0, err
	}
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	c.receiver.expect(devices)
	start := time.Now()
	if err := server.Send(ctx); err != nil {
		return 0, err
	}
	last, posts, err := c.receiver.come(ctx)
	if err != nil {
		return 0, server.Explain(err)
	}
	if posts != len(devices) {
		return 0, fmt.Errorf("the rival told %d devices with %d requests", len(devices), posts)
	}
	return float64(count) / last.Sub(start).Seconds(), nil
}

// bestWorkers finds the number of workers with which the rival is fastest, and returns its
// rates with each.
func (c *contest) bestWorkers(ctx context.Context, count, every, first int) (workers int, rates []float64, err error) {
	for _, workers := range rivalWorkers {
		rate, err := c.theirs(ctx, workers, count, every, first)
		if err != nil {
			return 0, nil, err
		}
		c.b.s.say("  the rival with %d workers: %.0f/s", workers, rate)
		rates = append(rates, rate)
	}
	return rivalWorkers[slices.Index(rates, slices.Max(rates))], rates, nil
}
