package cluster

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"whisperpush/pushext"
)

const (
	// tailEntries and tailBytes bound the newest part of the log that is in memory.
	tailEntries = 16384
	tailBytes   = 16 << 20
	// tailAtOnce is how many entries a core is given at a time.
	tailAtOnce = 1000
	// tailPause is how long the reader waits after an error.
	tailPause = 500 * time.Millisecond
)

// tail is a pushext.Log that has many followers and is read once. It keeps the newest entries in
// memory; a follower that is further behind reads the log itself.
type tail struct {
	pushext.Log
	logger *slog.Logger

	mu      sync.Mutex      // guards the following fields
	entries []pushext.Entry // without gaps, ascending; empty: nothing is in memory
	bytes   int             // of their data
	grown   chan struct{}   // closed and replaced when there are more
}

func newTail(log pushext.Log, logger *slog.Logger) *tail {
	return &tail{Log: log, logger: logger, grown: make(chan struct{})}
}

// LogID implements pushext.Identified.
func (t *tail) LogID() []byte {
	if log, ok := t.Log.(pushext.Identified); ok {
		return log.LogID()
	}
	return nil
}

// run reads the log from its end on until ctx ends.
func (t *tail) run(ctx context.Context) {
	for ctx.Err() == nil {
		t.forget()
		err := t.Log.Follow(ctx, t.Log.Last(), func(entries []pushext.Entry) error {
			t.add(entries)
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		t.logger.Debug("the end of the log cannot be read; trying again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(tailPause):
		}
	}
}

// forget empties the memory. Followers read the log itself meanwhile.
func (t *tail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries, t.bytes = nil, 0
	t.wake()
}

// wake wakes everything that waits for more. The caller holds mu.
func (t *tail) wake() {
	close(t.grown)
	t.grown = make(chan struct{})
}

// add appends the next entries of the log. Each entry is copied once for all followers.
func (t *tail) add(entries []pushext.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.entries); n > 0 && entries[0].Seq != t.entries[n-1].Seq+1 {
		t.entries, t.bytes = nil, 0 // a damaged part: followers are told by the log
	}
	for _, e := range entries {
		e.Data = bytes.Clone(e.Data)
		t.entries = append(t.entries, e)
		t.bytes += len(e.Data)
	}
	drop := 0
	for len(t.entries)-drop > tailEntries || t.bytes > tailBytes && len(t.entries)-drop > 1 {
		t.bytes -= len(t.entries[drop].Data)
		drop++
	}
	t.entries = t.entries[drop:]
	t.wake()
}

// after returns the entries in memory after a sequence, or the channel to wait on if there are
// none yet; neither if the log must be read.
func (t *tail) after(seq uint64) (next []pushext.Entry, grown <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 || seq+1 < t.entries[0].Seq || seq > t.entries[len(t.entries)-1].Seq {
		return nil, nil
	}
	at := int(seq + 1 - t.entries[0].Seq)
	if at == len(t.entries) {
		return nil, t.grown
	}
	end := min(at+tailAtOnce, len(t.entries))
	return t.entries[at:end:end], nil
}

// errInMemory ends a follower's reading of the log once it has come to what is in memory.
var errInMemory = errors.New("in memory from here")

// Follow implements pushext.Log. fn may not change the data of entries.
func (t *tail) Follow(ctx context.Context, after uint64, fn func([]pushext.Entry) error) error {
	for ctx.Err() == nil {
		next, grown := t.after(after)
		switch {
		case len(next) > 0:
			// fn may change the slice, and its entries are shared by all followers.
			if err := fn(append([]pushext.Entry(nil), next...)); err != nil {
				return err
			}
			after = next[len(next)-1].Seq
		case grown != nil:
			select {
			case <-ctx.Done():
			case <-grown:
			}
		default:
			err := t.Log.Follow(ctx, after, func(entries []pushext.Entry) error {
				if err := fn(entries); err != nil {
					return err
				}
				after = entries[len(entries)-1].Seq
				if next, grown := t.after(after); next != nil || grown != nil {
					return errInMemory
				}
				return nil
			})
			if !errors.Is(err, errInMemory) {
				return err
			}
		}
	}
	return ctx.Err()
}

var (
	_ pushext.Log        = (*tail)(nil)
	_ pushext.Identified = (*tail)(nil)
)
