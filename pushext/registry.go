package pushext

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/syndtr/goleveldb/leveldb"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Keys of the registry in the push database. Numbers are big-endian; every
// fingerprint is keyed, so that nothing can be looked up without the disk key.
const (
	prefixRecord     = 'r' // id 8: the record, sealed
	prefixListening  = 'l' // id 8: its state, expiry and channels, sealed
	prefixKey        = 'k' // fingerprint of the registration key: id 8
	prefixAddress    = 'a' // fingerprint of provider and token, id 8: 1 if it owns the address, 0 if it claims it
	prefixGroup      = 'g' // fingerprint of the group id, id 8
	prefixHandle     = 'h' // fingerprint of the handle, id 8
	prefixSource     = 's' // fingerprint of the source, id 8
	prefixDue        = 'e' // class 1, due 8 (Unix ms), id 8
	prefixChallenged = 'q' // fingerprint of provider and token: when challenges were sent there, 8 each (Unix ms)
)

// keyNextID holds the id of the next registration (8 bytes): an id is never
// given out twice.
var keyNextID = []byte{prefixMeta, 'n'}

// Classes of prefixDue.
const (
	classFresh = iota // never confirmed: removed when due
	classLive         // becomes a tombstone when due
	classTomb         // removed when due
	classes
)

// refusal is an answer to a request that is not OK.
type refusal struct {
	code pushwire.Code
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code pushwire.Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// registry holds the registrations: durably in the store, and what matching
// needs of them in memory. A change is on disk, fsynced, when a method returns.
// It is safe for concurrent use.
type registry struct {
	store     *store
	limits    Limits
	providers map[string]Provider
	skip      map[string]bool // providers whose addresses need no proof
	log       *slog.Logger
	m         *registryMetrics
	index     *index
	recent    *recent
	codes     *codes

	// died and gone are called after a registration died, and after it was
	// removed or became a tombstone, with the reason. They must not call back
	// but for get and match.
	died, gone func(id registrationID, reason string)

	// change is held while a registration is read, checked and written, one
	// at a time: two of them may claim one address. It guards the following.
	change sync.Mutex
	next   registrationID
	tally
	saved  bool // the database has the record of a snapshot of all this
	unsure bool // a write failed: the disk may hold what memory does not
}

// tally is what the registry counts of its records.
type tally struct {
	count      [classes]int // registrations by class
	channels   int          // of all
	challenged int          // records at prefixChallenged
}

// openRegistry indexes the channels of all registrations, by a snapshot if there
// is one, or by reading them in one pass. A record that is found damaged is left out,
// counted and logged; its device finds out with its next request and registers again.
func openRegistry(s *store, limits Limits, providers []Provider, skip []string, log *slog.Logger, m *registryMetrics) (*registry, error) {
	r := &registry{
		store:     s,
		limits:    limits,
		providers: make(map[string]Provider, len(providers)),
		skip:      make(map[string]bool, len(skip)),
		log:       log,
		m:         m,
		recent:    newRecent(),
		codes:     newCodes(limits),
		died:      func(registrationID, string) {},
		gone:      func(registrationID, string) {},
		next:      1,
	}
	for _, p := range providers {
		r.providers[p.Name()] = p
	}
	for _, name := range skip {
		r.skip[name] = true
	}
	switch next, err := s.get(keyNextID); {
	case errors.Is(err, leveldb.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("read the next registration id: %w", err)
	case len(next) != 8:
		return nil, fmt.Errorf("the next registration id has %d bytes, want 8", len(next))
	default:
		r.next = registrationID(binary.BigEndian.Uint64(next))
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// match calls fn for every registration that is to be woken for an envelope on
// a topic: it was confirmed, is not over, and its channel for the topic is in the
// mode Every and not muted at now. fn must not call back into the registry.
func (r *registry) match(t whisper.Topic, now time.Time, fn func(registrationID)) {
	r.index.match(t, now, fn)
}

// get returns a registration, false if there is none or only its tombstone.
// Only routes that are proven may be sent more than their challenge.
func (r *registry) get(id registrationID) (registration, bool) {
	reg, ok, changes := r.recent.get(id)
	if ok {
		return reg, true
	}
	rec, err := r.read(id, false)
	if err != nil {
		r.log.Error("a registration cannot be read", "registration", uint64(id), "err", err)
		return registration{}, false
	}
	if rec == nil || !rec.live() {
		return registration{}, false
	}
	r.recent.keep(rec.registration, changes)
	return rec.registration, true
}

// absent reports that there is certainly no such registration, or only its
// tombstone; false if the disk cannot tell.
func (r *registry) absent(id registrationID) bool {
	rec, err := r.read(id, false)
	return err == nil && (rec == nil || !rec.live())
}

// known is get of what is in memory, without reading the disk: false says nothing.
func (r *registry) known(id registrationID) (registration, bool) {
	reg, ok, _ := r.recent.get(id)
	return reg, ok
}

// groupOf returns the other registrations that share the group id of one.
func (r *registry) groupOf(rec *record) ([]registrationID, error) {
	if len(rec.group) == 0 {
		return nil, nil
	}
	all, err := r.members(prefixGroup, r.fingerprint(prefixGroup, rec.group), r.limits.PerGroup)
	if err != nil {
		return nil, err
	}
	var others []registrationID
	for _, m := range all {
		if m.id != rec.id {
			others = append(others, m.id)
		}
	}
	return others, nil
}

// lookup returns the registration, or the tombstone, of a key; nil if there is
// none.
func (r *registry) lookup(key [33]byte) (*record, error) {
	value, err := r.store.get(r.keyKey(key))
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up a registration: %w", err)
	}
	return r.read(registrationID(binary.BigEndian.Uint64(value)), true)
}

// byHandle returns the registrations that a Notify may be for.
func (r *registry) byHandle(handle []byte) ([]*record, error) {
	ids, err := r.members(prefixHandle, r.fingerprint(prefixHandle, handle), r.limits.PerHandle)
	if err != nil {
		return nil, err
	}
	var all []*record
	for _, m := range ids {
		rec, err := r.read(m.id, true)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			all = append(all, rec)
		}
	}
	return all, nil
}

// read returns a record, with its channels if asked; nil if there is none or
// it is damaged, which is logged. The error is the disk's.
func (r *registry) read(id registrationID, channels bool) (*record, error) {
	plain, err := r.open(prefixRecord, id)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil
	}
	var rec *record
	if err == nil {
		rec, err = decodeRecord(id, plain)
	}
	if err == nil && channels {
		if plain, err = r.open(prefixListening, id); err == nil {
			err = rec.decodeListening(plain)
		}
	}
	switch {
	case err == nil:
		return rec, nil
	case errors.Is(err, leveldb.ErrNotFound), errors.Is(err, errSealed), errors.Is(err, errRecord):
		r.damaged(id, err)
		return nil, nil
	}
	return nil, fmt.Errorf("read a registration: %w", err)
}

// open reads and opens one sealed part of a registration.
func (r *registry) open(prefix byte, id registrationID) ([]byte, error) {
	key := idKey(prefix, id)
	sealed, err := r.store.get(key)
	if err != nil {
		return nil, err
	}
	return r.store.open(key, sealed)
}

func (r *registry) damaged(id registrationID, err error) {
	r.log.Error("a registration is damaged and left out; its device has to register again", "registration", uint64(id), "err", err)
	r.m.damaged.Inc()
}

// member is a registration found by a secondary key, and that key's value.
type member struct {
	id    registrationID
	value []byte
}

// members lists the registrations at a secondary key, oldest first, at most
// max and one more.
func (r *registry) members(prefix byte, f [16]byte, max int) ([]member, error) {
	it := r.store.scan(append([]byte{prefix}, f[:]...)...)
	defer it.Release()
	var all []member
	for len(all) <= max && it.Next() {
		key := it.Key()
		all = append(all, member{registrationID(binary.BigEndian.Uint64(key[len(key)-8:])), append([]byte(nil), it.Value()...)})
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("read registrations: %w", err)
	}
	return all, nil
}

// edit replaces a record: old is nil for a new one, next for one that is removed.
type edit struct {
	old, next *record
	reason    string // of a removal
}

// commit writes edits, and what else is in b, in one synced batch, and then
// brings memory up to date. The caller holds change.
func (r *registry) commit(b *leveldb.Batch, edits ...edit) error {
	for _, e := range edits {
		var old, next map[string][]byte
		if e.old != nil {
			old = r.keys(e.old)
		}
		if e.next != nil {
			next = r.keys(e.next)
		}
		for key := range old {
			if _, stays := next[key]; !stays {
				b.Delete([]byte(key))
			}
		}
		for key, value := range next {
			b.Put([]byte(key), value)
		}
		if e.old != nil && e.old.live() && (e.next == nil || !e.next.live()) {
			// In the same batch: whatever crashes, no wake-ups stay behind for
			// a registration that is not there any more.
			b.Delete(deviceKey(e.old.id))
		}
		if e.next == nil {
			b.Delete(idKey(prefixRecord, e.old.id))
			b.Delete(idKey(prefixListening, e.old.id))
			continue
		}
		key := idKey(prefixRecord, e.next.id)
		b.Put(key, r.store.seal(key, e.next.encode()))
		key = idKey(prefixListening, e.next.id)
		b.Put(key, r.store.seal(key, e.next.encodeListening()))
	}
	err := r.write(b)
	r.recent.forget(edits)
	if err != nil {
		r.m.writeFailures.Inc()
		return fmt.Errorf("write a registration: %w", err)
	}
	for _, e := range edits {
		r.settle(e)
	}
	r.gauge()
	return nil
}

// write writes a change. A snapshot ends with it: its record is deleted in the
// same batch, and then its file, in which devices are that may end now. The
// caller holds change.
func (r *registry) write(b *leveldb.Batch) error {
	if r.saved {
		b.Delete(keySnapshot)
	}
	if err := r.store.write(b); err != nil {
		r.unsure = true
		return err
	}
	if r.saved {
		r.saved = false
		r.removeSnapshot()
	}
	return nil
}

// settle brings index and counters up to date with an edit.
func (r *registry) settle(e edit) {
	old, next := e.old, e.next
	if old != nil {
		r.count[old.class()]--
		r.channels -= len(old.channels)
	}
	if next != nil {
		r.count[next.class()]++
		r.channels += len(next.channels)
	}
	was := old != nil && old.listens()
	switch {
	case next != nil && next.listens():
		var channels []channel
		if was {
			channels = old.channels
		}
		r.index.set(next.id, next.expires, channels, next.channels)
	case was:
		r.index.remove(old.id, old.channels)
	}
	switch {
	case old == nil || !old.live():
	case next == nil:
		r.gone(old.id, e.reason)
	case !next.live():
		r.gone(old.id, next.reason)
	case next.state == dead && old.state != dead:
		r.died(old.id, next.reason)
	}
}

func (r *registry) gauge() {
	for class, name := range [classes]string{"unconfirmed", "registered", "tombstone"} {
		r.m.registrations.WithLabelValues(name).Set(float64(r.count[class]))
	}
	r.m.channels.Set(float64(r.channels))
}

// class is that of prefixDue.
func (r *record) class() int {
	switch {
	case !r.live():
		return classTomb
	case r.fresh:
		return classFresh
	}
	return classLive
}

// keys are the secondary keys of a record, by which it is found.
func (r *registry) keys(rec *record) map[string][]byte {
	id := binary.BigEndian.AppendUint64(nil, uint64(rec.id))
	keys := map[string][]byte{
		string(r.keyKey(rec.key)):                    id,
		string(dueKey(rec.class(), rec.due, rec.id)): nil,
	}
	if !rec.live() {
		return keys
	}
	add := func(prefix byte, f [16]byte, value []byte) {
		key := append([]byte{prefix}, f[:]...)
		keys[string(append(key, id...))] = value
	}
	for i := range rec.routes {
		owns := byte(0)
		if rec.routes[i].proven && !r.skip[rec.routes[i].provider] {
			owns = 1
		}
		add(prefixAddress, r.addressFingerprint(&rec.routes[i]), []byte{owns})
	}
	if len(rec.group) > 0 {
		add(prefixGroup, r.fingerprint(prefixGroup, rec.group), nil)
	}
	if len(rec.handle) > 0 {
		add(prefixHandle, r.fingerprint(prefixHandle, rec.handle), nil)
	}
	add(prefixSource, rec.source, nil)
	return keys
}

func idKey(prefix byte, id registrationID) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, uint64(id))
}

func dueKey(class int, due time.Time, id registrationID) []byte {
	key := binary.BigEndian.AppendUint64([]byte{prefixDue, byte(class)}, millis(due))
	return binary.BigEndian.AppendUint64(key, uint64(id))
}

func (r *registry) keyKey(key [33]byte) []byte {
	f := r.fingerprint(prefixKey, key[:])
	return append([]byte{prefixKey}, f[:]...)
}

// fingerprint is the store's, apart for each prefix.
func (r *registry) fingerprint(prefix byte, secret []byte) [16]byte {
	return r.store.fingerprint(append([]byte{prefix}, secret...))
}

func (r *registry) addressFingerprint(route *route) [16]byte {
	secret := append([]byte(route.provider), 0)
	return r.fingerprint(prefixAddress, append(secret, route.address.Token...))
}
