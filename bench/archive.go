package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"whisperpush/mailserver/archive"
	"whisperpush/testutil/genuinenode"
	"whisperpush/whisper"
)

const (
	archiveWriters = 8
	// smallestBatch and largestBatch bound the batch sizes, in envelopes, of
	// which the best counts.
	smallestBatch, largestBatch = 250, 4000
)

// archiveThroughput times the archives themselves: ours through archive.Open and
// Archive, as a whisper.Node calls it; the genuine one by its method Archive in a
// process of its own; and goleveldb writing the same bytes in large batches, each
// synced.
func (s *suite) archiveThroughput(ctx context.Context) error {
	path, err := s.envelopes(ctx, s.fresh(s.archive, 1000))
	if err != nil {
		return err
	}
	raws, err := readRaw(path)
	if err != nil {
		return err
	}
	in := func(fn func(dir string) (float64, error)) func() (float64, error) {
		return func() (float64, error) {
			dir, err := s.temp()
			if err != nil {
				return 0, err
			}
			defer os.RemoveAll(dir)
			return fn(dir)
		}
	}
	ours := in(func(dir string) (float64, error) { return archiveOurs(ctx, dir, raws) })
	theirs := in(func(dir string) (float64, error) {
		t, err := genuinenode.TimeArchive(ctx, genuinenode.Load{File: path}, dir, archiveWriters)
		return t.PerSecond, err
	})
	batch := 0
	bare := in(func(dir string) (float64, error) { return writeBare(ctx, dir, raws, batch) })

	best := 0.0
	chosen := 0
	for batch = smallestBatch; batch <= largestBatch; batch *= 2 {
		rate, err := bare()
		if err != nil {
			return err
		}
		if rate > best {
			best, chosen = rate, batch
		}
	}
	batch = chosen

	var a, g, d []float64
	for range s.pairs {
		for _, side := range []struct {
			run func() (float64, error)
			to  *[]float64
		}{{ours, &a}, {theirs, &g}, {bare, &d}} {
			rate, err := side.run()
			if err != nil {
				return err
			}
			*side.to = append(*side.to, rate)
		}
	}
	s.report.add("archive_ratio", ratio(a, g), detail{"archive_ours", median(a), "envelopes/s"}, detail{"archive_genuine", median(g), "envelopes/s"})
	s.report.add("archive_vs_disk", ratio(a, d), detail{"archive_disk", median(d), "envelopes/s"}, detail{"archive_disk_batch", float64(batch), "envelopes"})
	return nil
}

// archiveOurs measures the time until all envelopes are archived. As for the
// genuine mailserver, they are decoded and hashed before the time begins: on
// arrival either node needs the hash to know what is new, before it calls
// Archive.
func archiveOurs(ctx context.Context, dir string, raws [][]byte) (float64, error) {
	envs, err := decode(raws)
	if err != nil {
		return 0, err
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		return 0, err
	}
	defer a.Close()
	start := time.Now()
	if err := archiveAll(ctx, a, envs, archiveWriters); err != nil {
		return 0, err
	}
	return float64(len(envs)) / time.Since(start).Seconds(), nil
}

// archiver is an archive of ours, of either engine.
type archiver interface {
	Archive(ctx context.Context, envs []*whisper.Envelope, done func(error))
}

// archiveAll has several goroutines archive envelopes, in batches such as a
// packet brings, and waits for the last.
func archiveAll(ctx context.Context, a archiver, envs []*whisper.Envelope, writers int) error {
	const batch = 100
	var (
		acknowledged, calling sync.WaitGroup
		mu                    sync.Mutex // guards failure
		failure               error
	)
	done := func(err error) {
		if err != nil {
			mu.Lock()
			failure = err
			mu.Unlock()
		}
		acknowledged.Done()
	}
	batches := make(chan []*whisper.Envelope, writers)
	for range writers {
		calling.Go(func() {
			for b := range batches {
				a.Archive(ctx, b, done)
			}
		})
	}
	for b := range slices.Chunk(envs, batch) {
		if ctx.Err() != nil {
			break
		}
		acknowledged.Add(1)
		batches <- b
	}
	close(batches)
	calling.Wait()
	acknowledged.Wait()
	if failure == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return failure
}

// writeBare writes the envelopes with goleveldb alone, under ascending keys, and
// syncs each batch. None of our code is involved: this is the best that the disk
// and the database can give.
func writeBare(ctx context.Context, dir string, raws [][]byte, batch int) (float64, error) {
	db, err := leveldb.OpenFile(dir, &opt.Options{WriteBuffer: 8 << 20, Compression: opt.NoCompression, DisableLargeBatchTransaction: true})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	b := new(leveldb.Batch)
	start := time.Now()
	for i, raw := range raws {
		b.Put(fmt.Appendf(nil, "%012d", i), raw)
		if b.Len() == batch || i == len(raws)-1 {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			if err := db.Write(b, &opt.WriteOptions{Sync: true}); err != nil {
				return 0, err
			}
			b.Reset()
		}
	}
	return float64(len(raws)) / time.Since(start).Seconds(), nil
}
