package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/testutil/genuinenode"
	"whisperpush/whisper"
)

const archivedTotal = "whisperpush_mailserver_archived_envelopes_total"

// wireIngest sends envelopes over one link and times until the mailserver has them all: ours
// on disk and indexed, the genuine one in its database's journal, which is not synced.
func (s *suite) wireIngest(ctx context.Context) error {
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
	count := len(raws)
	rate := func(start time.Time) float64 { return float64(count) / time.Since(start).Seconds() }

	ours := func() (float64, error) { return s.ingestOurs(ctx, load, count) }
	theirs := func() (float64, error) {
		dir, err := s.temp()
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		n, err := genuinenode.Start(ctx, genuinenode.Options{MailDir: dir, MailPassword: mailPassword})
		if err != nil {
			return 0, err
		}
		defer n.Stop()
		self, err := enode.ParseV4(n.Enode)
		if err != nil {
			return 0, err
		}
		start, err := flood(ctx, self, load, func() error {
			_, err := n.AwaitArchived(ctx, count)
			return err
		})
		return rate(start), err
	}
	as, bs, err := pairs(s.pairs, ours, theirs)
	if err != nil {
		return err
	}
	s.report.add("wire_ingest_ratio", ratio(as, bs),
		detail{"wire_ingest_ours", median(as), "envelopes/s"}, detail{"wire_ingest_genuine", median(bs), "envelopes/s"})
	return nil
}

// ingestOurs returns how many envelopes a second our node takes over one link until they are
// on disk.
func (s *suite) ingestOurs(ctx context.Context, load [][]byte, count int) (float64, error) {
	dir, err := s.temp()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	n, err := s.startNode(ctx, dir, "--mailserver")
	if err != nil {
		return 0, err
	}
	defer n.stop()
	start, err := flood(ctx, n.self, load, func() error { return n.await(ctx, archivedTotal, float64(count)) })
	if err != nil {
		return 0, n.explain(err)
	}
	return float64(count) / time.Since(start).Seconds(), nil
}

// flood sends the packets over a new link, waits for archived, and returns when it began.
func flood(ctx context.Context, to *enode.Node, load [][]byte, archived func() error) (time.Time, error) {
	l, err := dial(ctx, to)
	if err != nil {
		return time.Time{}, err
	}
	defer l.close()
	start := time.Now()
	sent := make(chan error, 1)
	go func() {
		for i, packet := range load {
			if err := l.send(whisper.MessagesPacket, packet); err != nil {
				sent <- fmt.Errorf("packet %d of %d: %w", i, len(load), err)
				return
			}
		}
		sent <- nil
	}()
	done := make(chan error, 1)
	go func() { done <- archived() }()
	select {
	case err := <-sent:
		if err != nil {
			return start, err
		}
		return start, <-done
	case err := <-done:
		return start, err
	}
}
