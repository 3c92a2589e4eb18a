package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/mailserver/archive"
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
			<-a.wake
		}
	}
}

// take takes a group out of the queue: what is committed together.
func (a *Archive) take() (group []submission, closing bool) {
	a.queueMu.Lock()
	defer a.queueMu.Unlock()
	n, bytes, rows := 0, int64(0), 0
	for n < len(a.queue) && (n == 0 || bytes+a.queue[n].weight <= appendBytes && rows+len(a.queue[n].envs) <= appendRows) {
		bytes, rows = bytes+a.queue[n].weight, rows+len(a.queue[n].envs)
		n++
	}
	group, a.queue = a.queue[:n:n], a.queue[n:]
	if len(a.queue) == 0 {
		a.queue = nil
	}
	return group, a.stopping
}

// commit archives a group and tells who offered it.
func (a *Archive) commit(group []submission) {
	var envs []*whisper.Envelope
	offered, weight := 0, int64(0)
	seen := map[common.Hash]struct{}{}
	for _, s := range group {
		offered, weight = offered+len(s.envs), weight+s.weight
		for _, e := range s.envs {
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
		a.metrics.failed.Add(float64(offered))
		a.log.Error("envelopes not archived", "envelopes", offered, "err", err)
	} else if offered > 0 {
		a.metrics.archived.Add(float64(done.added))
		a.metrics.duplicates.Add(float64(int64(offered) - done.added))
		if len(envs) > 0 {
			a.metrics.commitSeconds.Observe(time.Since(start).Seconds())
			a.grown(uint64(done.newest), uint64(done.part))
		}
		if done.added > 0 {
			signal(a.told)
		}
		if a.o.MaxBytes > 0 && done.total > a.o.MaxBytes {
			signal(a.kick)
		}
	}
	for _, s := range group {
		s.done(err)
	}
	a.room.Release(weight)
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
		a.metrics.bytes.Add(float64(bytes) * float64(done.added) / float64(n))
	}
	return done, err
}
