// Package registry holds the registrations: it checks a change against versions, limits
// and addresses, writes it with an fsync, and then changes what matching sees. It knows
// no requests and sends nothing.
//
// A change is decided under one lock (register.go, challenge.go, change.go, end.go), on
// top of what was decided before and is not written yet; whoever holds the turn writes
// all that waits in one batch (commit.go). Who gives way to whom is in shares.go and
// newcomers.go, and how many codes may be on their way in codes.go. A clean stop leaves
// a snapshot of the index for the next start (save.go, snapshot.go).
package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/topics"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/whisper"
)

// Keys of the registry in the push database. Numbers are big-endian; every
// fingerprint is keyed, so that nothing can be looked up without the disk key.
const (
	PrefixRecord     = 'r' // id 8: the record, sealed
	PrefixListening  = 'l' // id 8: its state, expiry and channels, sealed
	prefixKey        = 'k' // fingerprint of the registration key: id 8
	prefixAddress    = 'a' // fingerprint of provider and token, id 8: 1 if it owns the address, 0 if it claims it
	prefixGroup      = 'g' // fingerprint of the group id, id 8
	prefixHandle     = 'h' // fingerprint of the handle, id 8: fingerprint of the root; empty in an earlier version
	prefixSource     = 's' // fingerprint of the source, id 8: channels 4 that are held by proof; empty in an earlier version
	prefixDue        = 'e' // class 1, due 8 (Unix ms), id 8: of classFresh a newcomer; empty in an earlier version
	prefixClaim      = 'y' // fingerprint of provider and token: when it was proved here (8, Unix ms), and 1 if no other shard has an owner; of a shard alone
	prefixChallenged = 'q' // fingerprint of provider and token: when challenges were sent there, 8 each (Unix ms)
	prefixSpent      = 'v' // fingerprint of a voucher's serial: fingerprint of the registration key, until when that has paid 8 (Unix ms)
)

// domainRoot keeps the fingerprints of roots apart, and domainPayer those of keys that
// paid; they are not prefixes of keys.
const (
	domainRoot  = 'o'
	domainPayer = 'p'
)

// KeyNextID holds the id of the next registration (8 bytes): an id is never
// given out twice.
var KeyNextID = []byte{vault.Meta, 'n'}

// Classes of prefixDue.
const (
	classFresh = iota // never proved an address: removed when due
	classLive         // becomes a tombstone when due
	classTomb         // removed when due
	classes
)

// Registry holds the registrations: durably in the store, and what matching
// needs of them in memory. A change is on disk, fsynced, when a method returns.
// It is safe for concurrent use.
type Registry struct {
	store  *vault.Vault
	terms  atomic.Pointer[terms]
	skip   map[string]bool // providers whose addresses need no proof
	log    *slog.Logger
	m      *metrics
	index  *topics.Index
	recent *recent
	codes  *codes

	ends      Ends
	admission Admission
	shard     *registration.Shard // nil: there are no others

	turn chan struct{} // holds one: its sender writes

	// mu is held while a change is decided. It guards the following fields, which
	// are ahead of the disk by what is in open and writing.
	mu      sync.Mutex
	open    *group // decided, written next
	writing *group // being written, or nil
	next    registration.ID
	tally
	newcomers *newcomers
	sources   lru.BasicLRU[[16]byte, holding] // what the sources asked for last hold
	saved     bool                            // the database has the record of a snapshot of all this
	doubt     *group                          // its write failed, but it may be on disk all the same; nil if there is none
}

// tally is what the registry counts of its records.
type tally struct {
	count      [classes]int // registrations by class
	channels   int          // of all
	challenged int          // records at prefixChallenged
}

// Ends is told of registrations that begin and end. It must not call back, except Get and
// Match.
type Ends interface {
	// Record is the key of what another package keeps for a registration. It is deleted in
	// the same batch as the registration, so that whatever crashes, nothing stays behind.
	Record(id registration.ID) []byte
	// Started is called after a registration was given the start of a chain.
	Started(id registration.ID, version uint64, start registration.Start)
	// Died is called after the provider's word took all addresses of a registration, and
	// Gone after it was removed or became a tombstone.
	Died(id registration.ID, reason string)
	Gone(id registration.ID, reason string)
}

// Options of a registry. All but SkipChallenge, Admission and Shard are required; a nil Registerer
// registers no metrics.
type Options struct {
	Limits        registration.Limits // complete
	Providers     []pushext.Provider
	SkipChallenge []string  // names of providers whose addresses are believed
	Admission     Admission // nil: Gratis
	Ends          Ends
	Shard         *registration.Shard // nil: the registry holds all registrations
	Logger        *slog.Logger
	Registerer    prometheus.Registerer
}

// Open indexes the channels of all registrations, from a snapshot if there is one, or by
// reading them in one pass. A damaged record is left out, counted and logged; its device
// finds out with its next request and registers again.
func Open(s *vault.Vault, o Options) (*Registry, error) {
	r := &Registry{
		store:     s,
		skip:      make(map[string]bool, len(o.SkipChallenge)),
		log:       o.Logger,
		m:         newMetrics(o.Registerer),
		recent:    newRecent(),
		codes:     newCodes(o.Limits),
		turn:      make(chan struct{}, 1),
		open:      newGroup(),
		sources:   lru.NewBasicLRU[[16]byte, holding](maxSourceHoldings),
		ends:      o.Ends,
		admission: o.Admission,
		shard:     o.Shard,
		next:      1,
	}
	if r.admission == nil {
		r.admission = Gratis{}
	}
	r.SetTerms(o.Limits, o.Providers)
	for _, name := range o.SkipChallenge {
		r.skip[name] = true
	}
	switch next, err := s.Get(KeyNextID); {
	case errors.Is(err, durable.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("read the next registration id: %w", err)
	case len(next) != 8:
		return nil, fmt.Errorf("the next registration id has %d bytes, want 8", len(next))
	default:
		r.next = registration.ID(binary.BigEndian.Uint64(next))
	}
	for r.step() > 1 && int(r.next%r.step()) != r.shard.Number || r.next == 0 {
		r.next++
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// Match calls fn for every registration that is to be woken for an envelope on a topic:
// it was confirmed, has not ended, and its channel for the topic is in the mode Every and
// not muted at now. fn must not call back into the registry.
func (r *Registry) Match(t whisper.Topic, now time.Time, fn func(registration.ID)) {
	r.index.Match(t, now, fn)
}

// Get returns a registration, false if there is none or only its tombstone.
// Only routes that are proven may be sent more than their challenge.
func (r *Registry) Get(id registration.ID) (registration.Registration, bool) {
	reg, ok, changes := r.recent.get(id)
	if ok {
		return reg, true
	}
	rec, err := r.settled().read(id, false)
	if err != nil {
		r.log.Error("a registration cannot be read", "registration", uint64(id), "err", err)
		return registration.Registration{}, false
	}
	if rec == nil || !rec.Live() {
		return registration.Registration{}, false
	}
	r.recent.keep(rec.Registration, changes)
	return rec.Registration, true
}

// Absent reports that there is certainly no such registration, or only its
// tombstone; false if the disk cannot tell.
func (r *Registry) Absent(id registration.ID) bool {
	rec, err := r.settled().read(id, false)
	return err == nil && (rec == nil || !rec.Live())
}

// Cached is Get without the disk. False means "not in memory", not "not registered".
func (r *Registry) Cached(id registration.ID) (registration.Registration, bool) {
	reg, ok, _ := r.recent.get(id)
	return reg, ok
}

// GroupOf returns the other registrations that share the group id of one.
func (r *Registry) GroupOf(rec *Record) ([]registration.ID, error) {
	if len(rec.Group) == 0 {
		return nil, nil
	}
	all, err := r.settled().members(prefixGroup, r.fingerprint(prefixGroup, rec.Group), r.terms.Load().limits.PerGroup)
	if err != nil {
		return nil, err
	}
	var others []registration.ID
	for _, m := range all {
		if m.id != rec.ID {
			others = append(others, m.id)
		}
	}
	return others, nil
}

// Lookup returns the registration, or the tombstone, of a key as it is on disk;
// nil if there is none.
func (r *Registry) Lookup(key [33]byte) (*Record, error) { return r.settled().lookup(key) }

// ByHandle returns the registrations that a Notify may be for, without their
// channels.
func (r *Registry) ByHandle(handle []byte) ([]*Record, error) {
	v := r.settled()
	ids, err := v.members(prefixHandle, r.fingerprint(prefixHandle, handle), maxRoots*r.terms.Load().limits.PerHandle)
	if err != nil {
		return nil, err
	}
	var all []*Record
	for _, m := range ids {
		rec, err := v.read(m.id, false)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			all = append(all, rec)
		}
	}
	return all, nil
}

func (r *Registry) damaged(id registration.ID, err error) {
	r.log.Error("a registration is damaged and left out; its device has to register again", "registration", uint64(id), "err", err)
	r.m.damaged.Inc()
}

func (r *Registry) gauge() {
	for class, name := range [classes]string{"unconfirmed", "registered", "tombstone"} {
		r.m.registrations.WithLabelValues(name).Set(float64(r.count[class]))
	}
	r.m.channels.Set(float64(r.channels))
}

// Epoch names the registration's sequence of wake-ups: another registration
// under the same key has another. It is not 0.
func (r *Registry) Epoch(rec *Record) uint64 {
	f := r.store.Fingerprint([]byte("epoch " + rec.Collapse))
	return max(1, binary.BigEndian.Uint64(f[:8]))
}
