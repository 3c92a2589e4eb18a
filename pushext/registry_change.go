package pushext

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/syndtr/goleveldb/leveldb"

	"whisperpush/pushext/pushwire"
)

// Reasons why a registration ended, as its device is told.
const (
	reasonExpired      = "its lifetime is over"
	reasonUnregistered = "unregistered by the device"
	reasonMoved        = "its address was confirmed by another registration"
	reasonAnew         = "registered anew"
	reasonEvicted      = "gave way to another registration"
)

// challengeDay is the time in which an address gets at most Limits.Challenges.
const challengeDay = 24 * time.Hour

// register creates or replaces the registration of a key. It returns what is
// on disk now, with the codes that are to be pushed to addresses that need
// proof. The same request again changes nothing and returns no codes. An error
// is a *refusal, which leaves everything as it was and comes with the record
// held, if any; or the disk's.
func (r *registry) register(key [33]byte, peer enode.ID, g *pushwire.Register, now time.Time) (*record, []challenge, error) {
	routes, err := r.checkRoutes(key, g)
	if err != nil {
		return nil, nil, err
	}
	if !g.Plain {
		if err := pushwire.CheckSealKey(g.SealKey); err != nil {
			return nil, nil, refuse(pushwire.Malformed, "the seal key is not an X25519 public key that can be sealed to")
		}
	}
	digest, err := digestOf(g)
	if err != nil {
		return nil, nil, err
	}

	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	if err != nil {
		return nil, nil, err
	}
	if old != nil {
		switch {
		case g.Version > old.version:
		case g.Version == old.version && old.digest == digest && old.live():
			return old, nil, nil
		default:
			return old, nil, refuse(pushwire.Stale, "version %d is not above %d, which the server holds", g.Version, old.version)
		}
	}
	rec := &record{
		registration: registration{
			key: key, version: g.Version, registered: now, expires: now.Add(r.lifetime(g.Lifetime)),
			routes: routes, sealKey: g.SealKey, plain: g.Plain, group: g.Group,
		},
		channels: newChannels(g.Channels),
		digest:   digest,
		source:   r.fingerprint(prefixSource, peer[:]),
		root:     g.Preferences.Root,
		handle:   g.Preferences.Handle,
		revoked:  g.Preferences.Revoked,
	}
	var b leveldb.Batch
	edits := []edit{{old: old, next: rec}}
	if old != nil && old.live() {
		rec.id, rec.collapse, rec.fresh = old.id, old.collapse, old.fresh
		for i := range rec.routes {
			rec.routes[i].proven = slices.ContainsFunc(old.routes, func(was route) bool {
				return was.proven && was.equal(&rec.routes[i])
			})
		}
	} else {
		if edits, err = r.admit(rec, old); err != nil {
			return old, nil, err
		}
		rec.fresh = true
		rec.collapse = randomID()
		rec.id = r.next
		b.Put(keyNextID, binary.BigEndian.AppendUint64(nil, uint64(rec.id)+1))
	}
	crowd, err := r.checkShares(rec, old)
	if err != nil {
		return old, nil, err
	}
	edits = append(edits, crowd...)
	if err := r.challenge(rec, &b, now); err != nil {
		return old, nil, err
	}
	r.decide(rec, now)
	if err := r.commit(&b, dedupe(edits)...); err != nil {
		return old, nil, err
	}
	if rec.id == r.next {
		r.next++
	}
	return rec, rec.challenges, nil
}

// checkRoutes judges what needs no look at other registrations.
func (r *registry) checkRoutes(key [33]byte, g *pushwire.Register) ([]route, error) {
	if len(g.Routes) > r.limits.Routes {
		return nil, refuse(pushwire.Limit, "%d routes, at most %d", len(g.Routes), r.limits.Routes)
	}
	if len(g.Channels) > r.limits.Channels {
		return nil, refuse(pushwire.Limit, "%d channels, at most %d", len(g.Channels), r.limits.Channels)
	}
	routes := make([]route, 0, len(g.Routes))
	for i := range g.Routes {
		provider := r.providers[g.Routes[i].Provider]
		if provider == nil {
			return nil, refuse(pushwire.UnknownProvider, "route %d: this server has no provider of that name", i+1)
		}
		next := route{
			provider: g.Routes[i].Provider,
			address:  Address{Token: string(g.Routes[i].Address), Keys: g.Routes[i].Keys},
		}
		for j := range routes {
			if routes[j].provider == next.provider && routes[j].address.Token == next.address.Token {
				return nil, refuse(pushwire.BadAddress, "routes %d and %d are the same", j+1, i+1)
			}
		}
		if err := provider.Check(next.address); err != nil {
			return nil, refuse(pushwire.BadAddress, "route %d: %v", i+1, err)
		}
		if r.linked(next.provider) && next.address.Token != string(key[:]) {
			return nil, refuse(pushwire.BadAddress, "route %d: the address must be the registration key that signs the request", i+1)
		}
		routes = append(routes, next)
	}
	return routes, nil
}

func (r *registry) lifetime(seconds uint64) time.Duration {
	if seconds == 0 || seconds > uint64(r.limits.Lifetime/time.Second) {
		return r.limits.Lifetime
	}
	return time.Duration(seconds) * time.Second
}

// admit finds room for a new registration: the oldest one that was never
// confirmed gives way. old is the tombstone of the same key, or nil.
func (r *registry) admit(rec, old *record) ([]edit, error) {
	edits := []edit{{next: rec}}
	if old != nil {
		// The id of an ended registration is never used again.
		edits = append([]edit{{old: old, reason: reasonAnew}}, edits...)
	}
	if r.count[classFresh] >= r.limits.Unconfirmed || r.count[classFresh]+r.count[classLive] >= r.limits.Registrations {
		oldest, err := r.oldest(classFresh)
		if err != nil {
			return nil, err
		}
		if oldest == nil {
			return nil, refuse(pushwire.Limit, "this server has no room for another registration")
		}
		r.m.ended.WithLabelValues("evicted").Inc()
		edits = append(edits, edit{old: oldest, reason: reasonEvicted})
	}
	return edits, nil
}

// oldest returns the record of a class that is due first, nil if there is none.
func (r *registry) oldest(class byte) (*record, error) {
	it := r.store.scan(prefixDue, class)
	defer it.Release()
	for it.Next() {
		key := it.Key()
		rec, err := r.read(registrationID(binary.BigEndian.Uint64(key[len(key)-8:])), true)
		if err != nil || rec != nil {
			return rec, err
		}
	}
	return nil, it.Error()
}

// checkShares checks the limits of what registrations share: the source, the
// group, the handle, the addresses. One that never proved an address gives way
// to another that claims it, so that nobody can keep an owner out.
func (r *registry) checkShares(rec, old *record) ([]edit, error) {
	if r.channels+len(rec.channels) > r.limits.AllChannels {
		return nil, refuse(pushwire.Limit, "this server has no room for more channels")
	}
	for _, share := range []struct {
		prefix byte
		f      [16]byte
		max    int
		used   bool
		text   string
	}{
		{prefixSource, rec.source, r.limits.PerSource, true, "too many registrations came through your node"},
		{prefixGroup, r.fingerprint(prefixGroup, rec.group), r.limits.PerGroup, len(rec.group) > 0, "too many devices share this group id"},
		{prefixHandle, r.fingerprint(prefixHandle, rec.handle), r.limits.PerHandle, len(rec.handle) > 0, "too many registrations share this handle; choose another"},
	} {
		if !share.used {
			continue
		}
		all, err := r.members(share.prefix, share.f, share.max)
		if err != nil {
			return nil, err
		}
		if others(all, rec.id) >= share.max {
			return nil, refuse(pushwire.Limit, "%s", share.text)
		}
	}
	var edits []edit
	for i := range rec.routes {
		all, err := r.members(prefixAddress, r.addressFingerprint(&rec.routes[i]), r.limits.PerAddress)
		if err != nil {
			return nil, err
		}
		for n := others(all, rec.id); n >= r.limits.PerAddress; n-- {
			gives, err := r.claimant(all, rec.id, edits)
			if err != nil {
				return nil, err
			}
			if gives == nil {
				return nil, refuse(pushwire.Limit, "route %d: too many registrations claim this address", i+1)
			}
			r.m.ended.WithLabelValues("evicted").Inc()
			edits = append(edits, edit{old: gives, reason: reasonEvicted})
		}
	}
	return edits, nil
}

func others(all []member, self registrationID) int {
	n := len(all)
	for _, m := range all {
		if m.id == self {
			n--
		}
	}
	return n
}

// claimant returns the oldest fresh registration of all that is not removed yet.
func (r *registry) claimant(all []member, self registrationID, removed []edit) (*record, error) {
	for _, m := range all {
		if m.id == self || slices.ContainsFunc(removed, func(e edit) bool { return e.old.id == m.id }) {
			continue
		}
		rec, err := r.read(m.id, true)
		if err != nil {
			return nil, err
		}
		if rec != nil && rec.fresh {
			return rec, nil
		}
	}
	return nil, nil
}

// dedupe leaves out edits of a record that was edited before.
func dedupe(edits []edit) []edit {
	seen := make(map[registrationID]bool)
	return slices.DeleteFunc(edits, func(e edit) bool {
		if e.old == nil {
			return false
		}
		defer func() { seen[e.old.id] = true }()
		return seen[e.old.id]
	})
}

// challenge makes a code for every route that needs proof, and counts it
// against the address.
func (r *registry) challenge(rec *record, b *leveldb.Batch, now time.Time) error {
	for i := range rec.routes {
		route := &rec.routes[i]
		if r.unchallenged(route.provider) {
			route.proven = true
		}
		if route.proven {
			continue
		}
		f := r.addressFingerprint(route)
		key := append([]byte{prefixChallenged}, f[:]...)
		start, count := now, byte(0)
		switch value, err := r.store.get(key); {
		case errors.Is(err, leveldb.ErrNotFound):
			if r.challenged >= r.limits.Challenged {
				return refuse(pushwire.Busy, "too many addresses were challenged today; repeat tomorrow")
			}
			r.challenged++ // at worst one too many, until the next sweep
		case err != nil:
			return fmt.Errorf("read a challenged address: %w", err)
		case len(value) == 9:
			if at := fromMillis(binary.BigEndian.Uint64(value)); now.Sub(at).Abs() < challengeDay {
				start, count = at, value[8]
			}
		}
		if int(count) >= min(r.limits.Challenges, math.MaxUint8) {
			return refuse(pushwire.Limit, "route %d: this address was challenged %d times in a day; repeat tomorrow", i+1, count)
		}
		b.Put(key, append(binary.BigEndian.AppendUint64(nil, millis(start)), count+1))
		c := challenge{route: i, until: now.Add(r.limits.ChallengeLife)}
		rand.Read(c.code[:])
		rec.challenges = append(rec.challenges, c)
	}
	return nil
}

// decide derives state and due time from the routes.
func (r *registry) decide(rec *record, now time.Time) {
	rec.state, rec.reason = unconfirmed, ""
	if slices.ContainsFunc(rec.routes, func(route route) bool { return route.proven }) {
		rec.state = confirmed
		rec.fresh = rec.fresh && !r.provenElsewhere(rec)
	}
	rec.due = rec.expires
	if rec.fresh && rec.state == unconfirmed {
		// Time for the challenge to arrive, be it at the last moment.
		if due := now.Add(2 * r.limits.ChallengeLife); due.Before(rec.due) {
			rec.due = due
		}
	}
}

// confirm proves an address by the code that was pushed to it. Another
// registration that owned the address loses it, and dies if it was its last;
// until then it keeps it, whatever anybody else claims.
func (r *registry) confirm(key [33]byte, code [pushwire.CodeSize]byte, now time.Time) (*record, error) {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	if err != nil {
		return nil, err
	}
	if old == nil || !old.live() {
		return old, refuse(pushwire.NotRegistered, "there is no registration under this key")
	}
	rec := old.clone()
	at := slices.IndexFunc(rec.challenges, func(c challenge) bool {
		return subtle.ConstantTimeCompare(c.code[:], code[:]) == 1
	})
	switch {
	case at < 0:
		return old, refuse(pushwire.WrongCode, "this code was not sent, or a newer one was; register again for a new one")
	case rec.routes[rec.challenges[at].route].proven:
		return old, nil // said before
	case now.After(rec.challenges[at].until):
		return old, refuse(pushwire.WrongCode, "this code is too old; register again for a new one")
	}
	proven := &rec.routes[rec.challenges[at].route]
	proven.proven = true
	r.decide(rec, now)
	edits := []edit{{old: old, next: rec}}
	all, err := r.members(prefixAddress, r.addressFingerprint(proven), math.MaxInt)
	if err != nil {
		return old, err
	}
	for _, m := range all {
		if m.id == rec.id || len(m.value) != 1 || m.value[0] != 1 {
			continue
		}
		loser, err := r.read(m.id, true)
		if err != nil {
			return old, err
		}
		if loser != nil {
			edits = append(edits, edit{old: loser, next: r.without(loser, proven)})
		}
	}
	var b leveldb.Batch
	if err := r.commit(&b, edits...); err != nil {
		return old, err
	}
	r.m.ended.WithLabelValues("moved").Add(float64(len(edits) - 1))
	return rec, nil
}

// without returns a record that has lost an address.
func (r *registry) without(old *record, lost *route) *record {
	rec := old.clone()
	rec.routes, rec.challenges = nil, nil
	moved := make(map[int]int)
	for i := range old.routes {
		if route := old.routes[i]; route.provider != lost.provider || route.address.Token != lost.address.Token {
			moved[i] = len(rec.routes)
			rec.routes = append(rec.routes, route)
		}
	}
	for _, c := range old.challenges {
		if to, stays := moved[c.route]; stays {
			c.route = to
			rec.challenges = append(rec.challenges, c)
		}
	}
	if !slices.ContainsFunc(rec.routes, func(route route) bool { return route.proven }) {
		rec.state, rec.reason = dead, reasonMoved
	}
	return rec
}

// update changes some channels of a registration.
func (r *registry) update(key [33]byte, c *pushwire.Channels, now time.Time) (*record, error) {
	digest, err := digestOf(c)
	if err != nil {
		return nil, err
	}
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	if err != nil {
		return nil, err
	}
	switch {
	case old == nil || !old.live():
		return old, refuse(pushwire.NotRegistered, "there is no registration under this key")
	case c.Version > old.version:
	case c.Version == old.version && old.digest == digest:
		return old, nil
	default:
		return old, refuse(pushwire.Stale, "version %d is not above %d, which the server holds", c.Version, old.version)
	}
	rec := old.clone()
	rec.version, rec.digest = c.Version, digest
	for i := range c.Channels {
		next := newChannel(&c.Channels[i])
		at, known := rec.find(next.topic)
		switch {
		case next.mode == pushwire.Removed && known:
			rec.channels = slices.Delete(rec.channels, at, at+1)
		case next.mode == pushwire.Removed:
		case known:
			rec.channels[at] = next
		default:
			rec.channels = slices.Insert(rec.channels, at, next)
		}
	}
	for _, holder := range c.Revoked {
		if !slices.Contains(rec.revoked, holder) {
			rec.revoked = append(rec.revoked, holder)
		}
	}
	switch {
	case len(rec.channels) > r.limits.Channels:
		return old, refuse(pushwire.Limit, "%d channels, at most %d", len(rec.channels), r.limits.Channels)
	case r.channels-len(old.channels)+len(rec.channels) > r.limits.AllChannels:
		return old, refuse(pushwire.Limit, "this server has no room for more channels")
	case len(rec.revoked) > r.limits.Revoked:
		return old, refuse(pushwire.Limit, "%d revoked holders, at most %d; register again with a new root", len(rec.revoked), r.limits.Revoked)
	}
	var b leveldb.Batch
	if err := r.commit(&b, edit{old: old, next: rec}); err != nil {
		return old, err
	}
	return rec, nil
}

// unregister ends a registration; what stays is the key and the version, so
// that no older request brings it back.
func (r *registry) unregister(key [33]byte, version uint64, now time.Time) (*record, error) {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.lookup(key)
	switch {
	case err != nil:
		return nil, err
	case old == nil:
		return nil, refuse(pushwire.NotRegistered, "there is no registration under this key")
	case old.state == unregistered && version == old.version:
		return old, nil // said before
	case version <= old.version:
		return old, refuse(pushwire.Stale, "version %d is not above %d, which the server holds", version, old.version)
	}
	rec := old.clone()
	rec.version = version
	rec.bury(unregistered, reasonUnregistered, now, r.limits.Tombstone)
	var b leveldb.Batch
	if err := r.commit(&b, edit{old: old, next: rec}); err != nil {
		return old, err
	}
	r.m.ended.WithLabelValues("unregistered").Inc()
	return rec, nil
}

// kill ends a registration because its provider said that its addresses are
// gone. at is since when, or when the attempt that found out began: if the
// device registered after it, the verdict is about an older address and
// nothing happens. The addresses are forgotten; the device learns why with its
// next request.
func (r *registry) kill(id registrationID, reason string, at time.Time) {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.read(id, true)
	if err == nil && (old == nil || !old.live() || old.state == dead || at.Before(old.registered)) {
		return
	}
	if err == nil {
		rec := old.clone()
		rec.state, rec.reason, rec.fresh = dead, reason, false
		rec.due, rec.routes, rec.challenges = rec.expires, nil, nil
		var b leveldb.Batch
		err = r.commit(&b, edit{old: old, next: rec})
	}
	if err != nil {
		r.log.Error("a registration whose address is dead cannot be ended; it will be when its provider says so again", "registration", uint64(id), "err", err)
		return
	}
	r.m.ended.WithLabelValues("provider").Inc()
}

// sweepBatch bounds how many registrations one write of sweep ends.
const sweepBatch = 256

// sweep ends what is over: registrations whose lifetime ended become
// tombstones, those never confirmed and old tombstones go. It is to be called
// every minute or so.
func (r *registry) sweep(now time.Time) error {
	for class := byte(0); class < classes; class++ {
		for {
			n, err := r.sweepClass(class, now)
			if err != nil {
				return err
			}
			if n < sweepBatch {
				break
			}
		}
	}
	return r.sweepChallenged(now)
}

func (r *registry) sweepClass(class byte, now time.Time) (int, error) {
	r.change.Lock()
	defer r.change.Unlock()
	excess := 0
	if class == classTomb {
		excess = r.count[classTomb] - r.limits.Tombstones
	}
	due, err := r.due(class, now, excess)
	if err != nil {
		return 0, err
	}
	var b leveldb.Batch
	var edits []edit
	for _, key := range due {
		id := registrationID(binary.BigEndian.Uint64(key[len(key)-8:]))
		old, err := r.read(id, true)
		switch {
		case err != nil:
			return 0, err
		case old == nil:
			b.Delete(key)
			r.discard(&b, id)
			continue
		case class == classLive:
			next := old.clone()
			next.bury(expired, reasonExpired, now, r.limits.Tombstone)
			edits = append(edits, edit{old: old, next: next})
		default:
			edits = append(edits, edit{old: old, reason: reasonExpired})
		}
	}
	if len(due) == 0 {
		return 0, nil
	}
	if err := r.commit(&b, edits...); err != nil {
		return 0, err
	}
	switch class {
	case classFresh:
		r.m.ended.WithLabelValues("unconfirmed").Add(float64(len(edits)))
	case classLive:
		r.m.ended.WithLabelValues("expired").Add(float64(len(edits)))
	}
	return len(due), nil
}

// discard removes a registration whose record is damaged. Its channels may
// still be in the index. The caller holds change.
func (r *registry) discard(b *leveldb.Batch, id registrationID) {
	if plain, err := r.open(prefixListening, id); err == nil {
		rec := &record{registration: registration{id: id}}
		if rec.decodeListening(plain) == nil {
			r.index.remove(id, rec.channels)
			r.channels -= len(rec.channels)
			r.count[rec.class()]--
		}
	}
	b.Delete(idKey(prefixRecord, id))
	b.Delete(idKey(prefixListening, id))
}

// due lists the keys at prefixDue of a class that are due, the oldest first,
// and so many more as are in excess, at most sweepBatch.
func (r *registry) due(class byte, now time.Time, excess int) ([][]byte, error) {
	it := r.store.scan(prefixDue, class)
	defer it.Release()
	end := dueKey(int(class), now, math.MaxUint64)
	var keys [][]byte
	for len(keys) < sweepBatch && it.Next() {
		if bytes.Compare(it.Key(), end) > 0 && len(keys) >= excess {
			break
		}
		keys = append(keys, bytes.Clone(it.Key()))
	}
	return keys, it.Error()
}

// sweepChallenged forgets the challenges of yesterday.
func (r *registry) sweepChallenged(now time.Time) error {
	it := r.store.scan(prefixChallenged)
	defer it.Release()
	var b leveldb.Batch
	left := 0
	for it.Next() {
		value := it.Value()
		if len(value) == 9 && now.Sub(fromMillis(binary.BigEndian.Uint64(value))).Abs() < challengeDay {
			left++
			continue
		}
		b.Delete(it.Key())
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("read challenged addresses: %w", err)
	}
	if b.Len() == 0 {
		return nil
	}
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.store.write(&b); err != nil {
		return fmt.Errorf("forget challenged addresses: %w", err)
	}
	r.challenged = left
	return nil
}

// clone copies what a change may write to.
func (r *record) clone() *record {
	c := *r
	c.routes = slices.Clone(r.routes)
	c.channels = slices.Clone(r.channels)
	c.challenges = slices.Clone(r.challenges)
	c.revoked = slices.Clone(r.revoked)
	return &c
}

func (r *route) equal(o *route) bool {
	return r.provider == o.provider && r.address.Token == o.address.Token &&
		slices.EqualFunc(r.address.Keys, o.address.Keys, bytes.Equal)
}

func newChannel(c *pushwire.Channel) channel {
	return channel{topic: c.Topic, mode: c.Mode, muted: uint32(min(c.MutedUntil, math.MaxUint32))}
}

func newChannels(wire []pushwire.Channel) []channel {
	channels := make([]channel, len(wire))
	for i := range wire {
		channels[i] = newChannel(&wire[i])
	}
	slices.SortFunc(channels, func(a, b channel) int { return slices.Compare(a.topic[:], b.topic[:]) })
	return channels
}

// digestOf tells two requests of one version apart.
func digestOf(body pushwire.RequestBody) ([32]byte, error) {
	b, err := pushwire.EncodeRequest(pushwire.Request{Body: body})
	if err != nil {
		return [32]byte{}, refuse(pushwire.CodeFor(err), "the request cannot be read")
	}
	return sha256.Sum256(b), nil
}

// randomID is 24 random characters of base64url.
func randomID() string {
	var b [18]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
