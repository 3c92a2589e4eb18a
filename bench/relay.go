package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/testutil/genuinenode"
	"whisperpush/whisper"
)

// relay times one hop: from sending a message to a node over one link until the node sends
// it over another. Each message meets the genuine node's 300 ms cycle at another moment.
func (s *suite) relay(ctx context.Context) error {
	path, err := s.envelopes(ctx, s.fresh(2*s.hops, 1000))
	if err != nil {
		return err
	}
	raws, err := readRaw(path)
	if err != nil {
		return err
	}
	load, err := packets(raws, 1)
	if err != nil {
		return err
	}
	dir, err := s.temp()
	if err != nil {
		return err
	}
	ours, err := s.startNode(ctx, dir)
	if err != nil {
		return err
	}
	defer ours.stop()
	genuine, err := genuinenode.Start(ctx, genuinenode.Options{})
	if err != nil {
		return err
	}
	defer genuine.Stop()
	self, err := enode.ParseV4(genuine.Enode)
	if err != nil {
		return err
	}
	our, err := newHop(ctx, ours.self)
	if err != nil {
		return ours.explain(err)
	}
	defer our.close()
	their, err := newHop(ctx, self)
	if err != nil {
		return err
	}
	defer their.close()

	choice := rand.New(rand.NewPCG(uint64(s.seed), 2))
	var a, b []float64
	for i := range s.hops {
		for _, side := range []struct {
			*hop
			packet []byte
			to     *[]float64
		}{{our, load[2*i], &a}, {their, load[2*i+1], &b}} {
			took, err := side.pass(ctx, side.packet)
			if err != nil {
				return fmt.Errorf("hop %d: %w", i, err)
			}
			*side.to = append(*side.to, milliseconds(took))
			time.Sleep(time.Duration(choice.IntN(50)) * time.Millisecond)
		}
	}
	s.report.add("relay_p50_ratio", median(b)/median(a), detail{"relay_ours_p50", median(a), "ms"}, detail{"relay_ours_p99", quantile(a, 0.99), "ms"},
		detail{"relay_genuine_p50", median(b), "ms"}, detail{"relay_genuine_p99", quantile(b, 0.99), "ms"})
	return nil
}

// hop is a node with two links.
type hop struct {
	in, out *link
	came    chan struct{}
}

func newHop(ctx context.Context, to *enode.Node) (h *hop, err error) {
	h = &hop{came: make(chan struct{}, 1)}
	if h.in, err = dial(ctx, to); err != nil {
		return nil, err
	}
	if h.out, err = dial(ctx, to); err != nil {
		h.in.close()
		return nil, err
	}
	h.out.handle(func(code uint64, _ []byte) {
		if code == whisper.MessagesPacket {
			h.came <- struct{}{}
		}
	})
	return h, nil
}

func (h *hop) close() {
	h.in.close()
	h.out.close()
}

// pass times one message through the node.
func (h *hop) pass(ctx context.Context, packet []byte) (time.Duration, error) {
	start := time.Now()
	if err := h.in.send(whisper.MessagesPacket, packet); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, fmt.Errorf("a message did not come through in 10 s"))
	defer cancel()
	err := h.out.wait(ctx, h.came)
	return time.Since(start), err
}
