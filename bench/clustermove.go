package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// spreadChannels and spreadNodes are what the memory is calculated for.
	spreadChannels = 10_000_000
	spreadNodes    = 3
	// probes is how many devices are written to while shards move: some in each shard.
	probes = 200
)

// clusterMillion registers a million channels. It measures the memory of a node that has all
// of them, and how long it takes until everything sent is matched again after one of three
// nodes is stopped cleanly, and after one is killed.
func (s *suite) clusterMillion(ctx context.Context) error {
	empty, err := s.newBed(ctx, 0, 0)
	if err != nil {
		return err
	}
	base, err := empty.memory(ctx)
	empty.close()
	if err != nil {
		return err
	}
	devices := s.channels / s.perRegistration
	channels := float64(devices * s.perRegistration)
	b, err := s.newBed(ctx, devices, s.perRegistration)
	if err != nil {
		return err
	}
	defer b.close()
	whole, err := b.memory(ctx)
	if err != nil {
		return err
	}
	each := (whole - base) / channels
	s.report.add("cluster_memory", base+each*spreadChannels/spreadNodes, detail{"cluster_memory_measured", whole, "MiB"},
		detail{"cluster_memory_empty", base, "MiB"}, detail{"cluster_memory_channel", each * (1 << 20), "bytes"}, detail{"cluster_memory_channels", channels, "channels"})

	for turn, leave := range []struct {
		name string
		do   func(*node)
	}{{"cluster_move_stopped", (*node).stop}, {"cluster_move_killed", (*node).kill}} {
		var times, shards []float64
		for round := range max(s.pairs, 2) {
			took, moved, err := b.leave(ctx, (2*round+turn)*probes, leave.do)
			if err != nil {
				return fmt.Errorf("%s: %w", leave.name, err)
			}
			times, shards = append(times, took), append(shards, moved)
		}
		s.report.add(leave.name, median(times), detail{leave.name + "_longest", quantile(times, 1), "s"},
			detail{leave.name + "_shards", median(shards), "shards"}, detail{leave.name + "_channels", channels, "channels"})
	}
	return nil
}

// memory is the resident size of one node with everything registered: at its start, or later
// if that is more.
func (b *bed) memory(ctx context.Context) (float64, error) {
	if err := b.start(ctx, 1); err != nil {
		return 0, err
	}
	defer b.stop()
	first, err := resident(b.nodes[0].cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(idleAfter):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	later, err := resident(b.nodes[0].cmd.Process.Pid)
	return max(first, later), err
}

// leave makes the last of three nodes leave. It returns how many seconds later the last of
// the devices from first on was woken for an envelope sent at once, and how many shards the
// node had.
func (b *bed) leave(ctx context.Context, first int, leave func(*node)) (took, shards float64, err error) {
	if err := b.start(ctx, severalNodes); err != nil {
		return 0, 0, err
	}
	last := b.nodes[severalNodes-1]
	if shards, err = last.metric(ctx, "whisperpush_cluster_shards"); err != nil {
		return 0, 0, err
	}
	// The first channel of every device.
	devices, topics := make([]string, probes), make([]int, probes)
	for i := range devices {
		devices[i], topics[i] = b.tokens[first+i], (first+i)*b.s.perRegistration
	}
	load, hashes, err := envelopesFor(topics)
	if err != nil {
		return 0, 0, err
	}
	b.links[severalNodes-1].close()
	b.links, b.nodes = b.links[:severalNodes-1], b.nodes[:severalNodes-1]
	start := time.Now()
	left := make(chan struct{})
	go func() {
		defer close(left)
		leave(last)
	}()
	_, err = b.send(ctx, load, 0)
	<-left
	if err != nil {
		return 0, 0, err
	}
	end, err := b.lastOf(ctx, devices, hashes)
	return end.Sub(start).Seconds(), shards, err
}
