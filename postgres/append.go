package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/engine"
	"whisperpush/whisper"
)

const (
	// appendBytes is after how many bytes a transaction takes no further submission.
	appendBytes = 2 << 20
	// appendRows is after how many envelopes.
	appendRows = 1000
)

// appended is what archive_append answers.
type appended struct {
	newest, added, part int64
	total               int64 // bytes of all parts
}

// writer commits what is queued, one transaction at a time, until the queue is empty
// and the archive is closing.
func (a *Archive) writer() {
	for {
		group, closing := a.take()
		switch {
		case len(group) > 0:
			a.commit(group)
		case closing:
			return
		default:
			<-a.queue.Wake()
		}
	}
}

// take takes a group out of the queue: what is committed together.
func (a *Archive) take() (group []engine.Submission, closing bool) {
	n, bytes, rows := 0, int64(0), 0
	return a.queue.Take(func(s engine.Submission) bool {
		bytes, rows = bytes+s.Weight, rows+len(s.Envelopes)
		n++
		return n == 1 || bytes <= appendBytes && rows <= appendRows
	})
}

// commit archives a group and tells who offered it.
func (a *Archive) commit(group []engine.Submission) {
	var envs []*whisper.Envelope
	offered := 0
	seen := map[common.Hash]struct{}{}
	for _, s := range group {
		offered += len(s.Envelopes)
		for _, e := range s.Envelopes {
			if _, again := seen[e.Hash()]; !again {
				seen[e.Hash()] = struct{}{}
				envs = append(envs, e)
			}
		}
	}
	err := error(nil)
	if a.full.Load() {
		err = archive.ErrFull
	}
	var done appended
	start := time.Now()
	if err == nil && len(envs) > 0 {
		// Also while the archive is closing: what was queued is ended.
		err = a.db.again(context.Background(), func(ctx context.Context) (err error) {
			done, err = a.append(ctx, envs)
			return err
		})
		if err != nil {
			err = fmt.Errorf("%w: %w", durable.ErrWrite, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("archive: %w", err)
		a.metrics.Failed.Add(float64(offered))
		a.log.Error("envelopes not archived", "envelopes", offered, "err", err)
	} else if offered > 0 {
		a.metrics.Archived.Add(float64(done.added))
		a.metrics.Duplicates.Add(float64(int64(offered) - done.added))
		if len(envs) > 0 {
			a.metrics.CommitSeconds.Observe(time.Since(start).Seconds())
			a.grown(uint64(done.newest), uint64(done.part))
		}
		if done.added > 0 {
			engine.Signal(a.told)
		}
		if a.o.MaxBytes > 0 && done.total > a.o.MaxBytes {
			engine.Signal(a.kick)
		}
	}
	a.queue.End(group, err)
}

// append archives envs, which differ, in one transaction. It may be repeated.
func (a *Archive) append(ctx context.Context, envs []*whisper.Envelope) (done appended, err error) {
	n := len(envs)
	hashes, topics, raws := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	sents, expiries := make([]int64, n), make([]int64, n)
	bytes := 0
	for i, e := range envs {
		hash := e.Hash()
		hashes[i], topics[i], raws[i] = hash[:], e.Topic[:], e.Raw()
		sents[i], expiries[i] = int64(e.Sent()), int64(e.Expiry)
		bytes += len(e.Raw())
	}
	err = a.db.pool.QueryRow(ctx, "SELECT newest, added, part, total FROM "+Schema+".archive_append($1, $2, $3, $4, $5, $6, $7)",
		a.o.width.Milliseconds(), a.o.MaxBytes/sizedParts, hashes, topics, sents, expiries, raws).
		Scan(&done.newest, &done.added, &done.part, &done.total)
	if err == nil && n > 0 && done.added > 0 {
		a.metrics.Bytes.Add(float64(bytes) * float64(done.added) / float64(n))
	}
	return done, err
}
