package postgres

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// keepInterval is how often retention is checked.
	keepInterval = time.Minute
	// expiryHold is how long a part past its retention is kept, from its newest
	// envelope, because an envelope in it has not expired. If the retention is longer,
	// it counts instead.
	expiryHold = 30 * 24 * time.Hour
	// wipeDelay is how long after the start everything is kept if all of it, even the
	// newest part, seems to be past retention: it is more likely that a clock is wrong.
	wipeDelay = time.Hour
	// expirySlack is how long the part of an envelope is kept after the envelope
	// expires: while it may be offered again, it is looked up there.
	expirySlack = 20 * time.Minute
	// dropWait is how long a drop waits for the readers of its part. Other statements
	// queue up behind it meanwhile.
	dropWait = "1s"
)

// keep drops what is past retention and watches the size. Every node does this; the
// first to act is enough.
func (a *Archive) keep() {
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	for {
		if err := a.retain(a.ctx); err != nil && a.ctx.Err() == nil {
			a.log.Warn("what is past retention is not dropped yet", "err", a.db.fault(err))
		}
		select {
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		case <-a.kick:
		}
	}
}

// retain drops the parts that are due.
func (a *Archive) retain(ctx context.Context) error {
	if _, err := a.append(ctx, nil); err != nil { // ends the newest part if it is old enough
		return err
	}
	s, err := a.refresh(ctx)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, p := range s.parts {
		total += p.bytes
	}
	for _, p := range s.parts[:len(s.parts)-1] {
		reason := ""
		switch {
		case a.due(p) && a.expired(p) && !a.wholly(s):
			reason = "age"
		case a.o.MaxBytes > 0 && total > a.o.MaxBytes && p.alive() < 0:
			reason = "size"
		}
		if reason == "" {
			break
		}
		if err := a.drop(ctx, p); err != nil {
			return err
		}
		total -= p.bytes
		a.metrics.Dropped.WithLabelValues(reason).Inc()
		a.log.Info("part dropped", "part", p.first, "reason", reason, "bytes", p.bytes)
	}
	a.metrics.DiskBytes.Set(float64(total))
	full := a.o.MaxBytes > 0 && total > a.o.MaxBytes
	if full && !a.full.Load() {
		a.log.Error("the archive has reached its size limit and nothing in it has expired; envelopes are refused", "bytes", total, "limit", a.o.MaxBytes)
	}
	a.full.Store(full)
	_, err = a.refresh(ctx)
	return err
}

// age is how long ago the newest envelope of a part arrived, by the database's clock.
func (p logPart) age() time.Duration {
	return time.Duration(p.databaseMs-p.received) * time.Millisecond
}

// alive is how much longer a part holds an envelope that may be offered again.
func (p logPart) alive() time.Duration {
	return time.Duration(p.expiry-p.databaseMs/1000)*time.Second + expirySlack
}

// due reports whether a part is past retention.
func (a *Archive) due(p logPart) bool { return a.o.Retention > 0 && p.age() > a.o.Retention }

// expired reports whether retention may drop a part: its envelopes have expired, or
// expire too late to be waited for.
func (a *Archive) expired(p logPart) bool {
	hold := max(expiryHold, a.o.Retention)
	if a.o.Retention < 0 {
		hold = math.MaxInt64
	}
	return p.alive() < 0 || p.age() > hold
}

// wholly reports whether everything seems to be past retention while it is too early to
// believe that.
func (a *Archive) wholly(s *logState) bool {
	held := slices.DeleteFunc(slices.Clone(s.parts), func(p logPart) bool { return p.last < p.first })
	if len(held) == 0 || !a.due(held[len(held)-1]) || time.Since(a.opened) >= wipeDelay {
		return false
	}
	a.log.Warn("everything in the archive is past its retention; is the database server's clock right? keeping it for now", "until", a.opened.Add(wipeDelay))
	return true
}

// drop drops a part that is no longer written to. It is fine if the part is already
// gone.
func (a *Archive) drop(ctx context.Context, p logPart) error {
	return pgx.BeginFunc(ctx, a.db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", dropWait); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, "DELETE FROM "+Schema+".parts WHERE first = $1 AND first < (SELECT part FROM "+Schema+".head)", int64(p.first))
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, "DROP TABLE "+p.table())
		return err
	})
}
