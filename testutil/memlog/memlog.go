// Package memlog is an archive's log in memory, for tests of what follows one. It can
// lose entries and fail, as an archive's log may.
package memlog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext"
	"whisperpush/whisper"
)

// Log is an archive's log. It is safe for concurrent use. Create it with New.
type Log struct {
	mu      sync.Mutex
	entries []pushext.Entry
	oldest  uint64    // first retained
	hole    [2]uint64 // sequences that Follow passes over, both inclusive
	unused  uint64    // missing sequences up to this one never had an envelope
	unsure  bool      // the log does not know about the other missing ones
	grown   chan struct{}
	broken  error // the error of Follow
}

var _ pushext.Log = (*Log)(nil)

// New returns a log without entries.
func New() *Log { return &Log{oldest: 1, grown: make(chan struct{})} }

// First implements pushext.Log.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(l.oldest) > len(l.entries) {
		return 0
	}
	return l.oldest
}

// Last implements pushext.Log.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.entries))
}

// Lost implements pushext.Log.
func (l *Log) Lost(after, before uint64) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return before - 1 - min(max(after, l.unused), before-1), !l.unsure
}

// Follow implements pushext.Log.
func (l *Log) Follow(ctx context.Context, after uint64, fn func([]pushext.Entry) error) error {
	for {
		l.mu.Lock()
		fresh, grown, err := slices.Clone(l.entries[min(int(after), len(l.entries)):]), l.grown, l.broken
		hole := l.hole
		l.mu.Unlock()
		fresh = slices.DeleteFunc(fresh, func(e pushext.Entry) bool { return hole[0] <= e.Seq && e.Seq <= hole[1] })
		if err != nil {
			return err
		}
		if len(fresh) > 0 {
			if err := fn(fresh); err != nil {
				return err
			}
			after = fresh[len(fresh)-1].Seq
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

// Archive appends an entry without data on a topic and returns its hash, which is derived
// from its number; see Hash.
func (l *Log) Archive(t whisper.Topic) common.Hash {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(Hash(uint64(len(l.entries)+1)), t, nil)
}

// Add appends an envelope.
func (l *Log) Add(env *whisper.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(env.Hash(), env.Topic, env.Data)
}

func (l *Log) add(h common.Hash, t whisper.Topic, data []byte) common.Hash {
	l.entries = append(l.entries, pushext.Entry{Seq: uint64(len(l.entries) + 1), Hash: h, Topic: t, Received: time.Now(), Data: data})
	l.wake()
	return h
}

func (l *Log) wake() {
	close(l.grown)
	l.grown = make(chan struct{})
}

// Forget drops everything before a sequence from the log.
func (l *Log) Forget(before uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.oldest = before
}

// Lose makes Follow pass over the sequences from first to last. Those up to unused never
// had an envelope; unsure says that the log does not know about the others.
func (l *Log) Lose(first, last, unused uint64, unsure bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hole, l.unused, l.unsure = [2]uint64{first, last}, unused, unsure
}

// Break makes Follow fail, including calls that wait; nil ends that.
func (l *Log) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
	l.wake()
}

// Hash is the hash of the n-th entry that Archive appended.
func Hash(n uint64) common.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
}
