package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/postgres"
	"whisperpush/pushext/emulate"
	"whisperpush/testutil/genuinepostgres"
)

// clusterBenchmarks are those of nodes that share a PostgreSQL server. They start the server
// themselves.
var clusterBenchmarks = []benchmark{
	{[]string{"cluster_ingest_ratio"}, (*suite).clusterIngest},
	{[]string{"cluster_query_ratio"}, (*suite).clusterQuery},
	{[]string{"cluster_ring_p50_vs_floor", "cluster_ring_late"}, (*suite).clusterRing},
	{[]string{"cluster_wakeups_ratio"}, (*suite).clusterWakeups},
	{[]string{"cluster_memory", "cluster_move_stopped", "cluster_move_killed"}, (*suite).clusterMillion},
	{[]string{rivalTenth, rivalAll}, (*suite).clusterRival},
}

// severalNodes is the number of nodes unless stated otherwise.
const severalNodes = 3

// database makes an empty database on the run's server and returns its URL without the
// password, which the nodes find in their environment, and with it. The server has
// PostgreSQL's default settings: it fsyncs.
func (s *suite) database(ctx context.Context) (store, full string, err error) {
	if s.postgres == nil {
		if s.postgres, err = genuinepostgres.Start(ctx, "fsync=on", "shared_buffers=128MB"); err != nil {
			return "", "", err
		}
	}
	store, password, err := s.postgres.Store(ctx)
	if err != nil {
		return "", "", err
	}
	s.env = []string{"PGPASSWORD=" + password}
	full, err = withPassword(store, password)
	return store, full, err
}

func (s *suite) stopPostgres() error {
	if s.postgres == nil {
		return nil
	}
	return s.postgres.Stop()
}

// bed is a set of nodes that share a database with registrations.
type bed struct {
	s       *suite
	dir     string
	store   string // URL of the database
	full    string // the same, with the password
	service *emulate.FCM
	r       *registrar
	tokens  []string // of the devices, in order
	nodes   []*node
	links   []*link // one to each node
	made    int     // directories of nodes
}

// newBed registers devices, each with the given number of channels, in a data directory, and
// moves it to a database as an operator does.
func (s *suite) newBed(ctx context.Context, devices, channels int) (b *bed, err error) {
	b = &bed{s: s}
	defer func() {
		if err != nil {
			b.close()
			b = nil
		}
	}()
	if b.store, b.full, err = s.database(ctx); err != nil {
		return b, err
	}
	if b.service, err = emulate.StartFCM(emulate.FCMConfig{}); err != nil {
		return b, err
	}
	if b.dir, err = s.temp(); err != nil {
		return b, err
	}
	if b.r, err = newRegistrar(b.dir, b.service); err != nil || devices == 0 {
		return b, err
	}
	b.tokens = make([]string, devices)
	for i := range b.tokens {
		b.tokens[i] = b.service.NewToken()
	}
	if err = b.r.fill(ctx, devices, channels, 0, func(i int) string { return b.tokens[i] }); err != nil {
		return b, err
	}
	move := exec.CommandContext(ctx, s.wnode, "move", "--to", "database", "--datadir", b.dir, "--config", b.r.path("node.toml"), "--store", b.store)
	move.Env = append(os.Environ(), s.env...)
	if out, err := move.CombinedOutput(); err != nil {
		return b, fmt.Errorf("move the registrations to the database: %w\n%s", err, out)
	}
	return b, os.RemoveAll(b.r.path("push"))
}

// start starts more nodes until there are nodes of them, connects to each, and waits until
// all have their part of the shards.
func (b *bed) start(ctx context.Context, nodes int) error {
	for len(b.nodes) < nodes {
		b.made++
		dir := filepath.Join(b.dir, "node"+strconv.Itoa(b.made))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		own, err := crypto.GenerateKey()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "nodekey"), []byte(hex.EncodeToString(crypto.FromECDSA(own))), 0o600); err != nil {
			return err
		}
		for _, name := range []string{"pushkey", "push.disk.key"} {
			secret, err := os.ReadFile(b.r.path(name))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), secret, 0o600)
			}
			if err != nil {
				return err
			}
		}
		n, err := b.s.startNode(ctx, dir, "--push", "--mailserver", "--config", b.r.path("node.toml"), "--store", b.store)
		if err != nil {
			return err
		}
		b.nodes = append(b.nodes, n)
		l, err := dial(ctx, n.self)
		if err != nil {
			return n.explain(err)
		}
		b.links = append(b.links, l)
	}
	return b.settled(ctx)
}

// settled waits until every node has its part of the shards.
func (b *bed) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the shards were not divided within a minute"))
	defer cancel()
	for {
		sum, least := 0, postgres.ShardCount
		for _, n := range b.nodes {
			owned, err := n.metric(ctx, "whisperpush_cluster_shards")
			if err != nil {
				return err
			}
			sum, least = sum+int(owned), min(least, int(owned))
		}
		if sum == postgres.ShardCount && least >= postgres.ShardCount/len(b.nodes) {
			return nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stop stops all nodes.
func (b *bed) stop() {
	for _, l := range b.links {
		l.close()
	}
	for _, n := range b.nodes {
		n.stop()
	}
	b.links, b.nodes = nil, nil
}

func (b *bed) close() {
	b.stop()
	if b.service != nil {
		b.service.Close()
	}
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}
