package outbox

import (
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
	"whisperpush/pushext/pushwire"
)

// maxEntries bounds what is remembered for one registration. A wake-up carries
// fewer hashes than that and says so, and the device then asks for everything
// since its cursor, so older entries carry no information any more.
const maxEntries = 64

// maxDismissed bounds the dismissals that are kept for a device until it says that it
// knows of them: as many as one reply to a Fetch names. The oldest go first.
const maxDismissed = pushwire.MaxFetch

// Prefix is the first byte of the keys of device records, and prefixTwin of
// those of the fingerprints of messages; see twins.go.
const (
	Prefix     = 'd'
	prefixTwin = 'w'
)

// seqBlock is how many push sequence numbers are reserved on disk at a time. A crash
// skips what is left of a block, and the device takes the gap for lost wake-ups and asks
// once for everything since its cursor. A smaller block would make pushes wait for the
// disk; a larger one takes more time, because the chain of keys is advanced as far.
// firstBlock is what each crash costs a device without a record: see firstNumber.
const (
	seqBlock   = 8
	firstBlock = 32
)

// entry is one match: an archived envelope that one registration listens to.
type entry struct {
	hash common.Hash
	seq  uint64 // counts the matches of the registration; set by insert
	at   int64  // received by the archive, unix ms
	// read is set once the device has fetched the envelope. Such an entry is
	// only kept for a registration in a group, whose other devices may still
	// say Seen, upon which this device gets a dismissal.
	read bool
}

func (e entry) received() time.Time { return time.UnixMilli(e.at) }

// device is everything the outbox knows of one registration: one record, so
// that it changes as a whole. An entry has no state of its own: a wake-up
// repeats everything unfetched, so an accepted one covers every entry up to
// its newest, and what is newer than covered is pending.
type device struct {
	id registration.ID

	entries []entry // ascending by seq, unique by hash, at most maxEntries
	matched uint64  // seq of the latest entry ever
	covered uint64  // seq up to which wake-ups were accepted, or given up with a reason
	more    bool    // entries were dropped unfetched: the next wake-up says More
	strikes uint32  // wake-ups accepted since the last sign of life
	lost    uint32  // entries that ended without a wake-up that was accepted
	reason  string  // why the latest of those was lost
	used    uint64  // last push sequence number given out
	climb   uint8   // the route to be tried next if no fetch comes, 0 = none

	// collapsed is spent by the wake-ups that push services were given with the
	// collapse id.
	collapsed spacing.Bucket

	// dismissed are the envelopes whose notifications are to be removed: another device of
	// the group has seen them, and this one has not said that it knows. The oldest first,
	// unique, at most maxDismissed.
	dismissed []common.Hash

	// What a device is told about its wake-ups: when it last fetched, Unix seconds, 0 if it
	// never did, and when the providers of its routes last accepted one, the latest first,
	// at most pushwire.MaxRoutes.
	fetched  uint32
	accepted []acceptance

	ledger ledger
	chain  chain
	sealed []byte // the chain as the record has it; openChain opens it

	// Not on disk:
	reserved  uint64        // numbers up to this one are durably reserved
	dirty     bool          // differs from the disk and from the batch being written
	writing   bool          // in the batch being written
	waiting   bool          // a wake-up waits for a reserved number
	forgotten bool          // not to be written any more
	unborn    bool          // has no record yet
	recent    *list.Element // in outbox.recent
}

// acceptance is when a provider last accepted a wake-up for a device.
type acceptance struct {
	provider string
	at       uint32 // Unix seconds
}

// accept notes that a provider accepted a wake-up.
func (d *device) accept(provider string, now time.Time) {
	d.accepted = slices.DeleteFunc(d.accepted, func(a acceptance) bool { return a.provider == provider })
	if len(d.accepted) == pushwire.MaxRoutes {
		d.accepted = d.accepted[:pushwire.MaxRoutes-1]
	}
	d.accepted = slices.Insert(d.accepted, 0, acceptance{provider, uint32(now.Unix())})
}

// provider is the one that accepted the latest wake-up, "" if none did.
func (d *device) provider() string {
	if len(d.accepted) == 0 {
		return ""
	}
	return d.accepted[0].provider
}

// insert adds a match. It reports whether it is new, and what had to be
// dropped for it: an unfetched entry, if dropped is not nil.
func (d *device) insert(e entry) (added bool, dropped *entry) {
	for i := range d.entries {
		if d.entries[i].hash == e.hash {
			return false, nil
		}
	}
	if len(d.entries) >= maxEntries {
		victim := 0
		if i := slices.IndexFunc(d.entries, func(e entry) bool { return e.read }); i >= 0 {
			victim = i
		}
		if v := d.entries[victim]; !v.read {
			dropped = &v
			d.more = true
		}
		d.entries = slices.Delete(d.entries, victim, victim+1)
	}
	d.matched++
	e.seq = d.matched
	d.entries = append(d.entries, e)
	return true, dropped
}

// skip notes matches that are not even remembered: a wake-up says "more".
func (d *device) skip(n uint32) {
	d.more = true
	d.lost += n
	d.reason = reasonCrowd
}

// reasonCrowd is the reason for matches that came too fast for too many.
const reasonCrowd = "crowd"

// dismiss notes that the notification of a hash is to be removed. The newest stay.
func (d *device) dismiss(h common.Hash) {
	d.settled(h)
	if len(d.dismissed) >= maxDismissed {
		d.dismissed = slices.Delete(d.dismissed, 0, 1+len(d.dismissed)-maxDismissed)
	}
	d.dismissed = append(d.dismissed, h)
}

// settled notes that nothing is to be removed for a hash.
func (d *device) settled(h common.Hash) {
	if i := slices.Index(d.dismissed, h); i >= 0 {
		d.dismissed = slices.Delete(d.dismissed, i, i+1)
	}
}

// find returns the index of a hash, or -1.
func (d *device) find(h common.Hash) int {
	return slices.IndexFunc(d.entries, func(e entry) bool { return e.hash == h })
}

// unread counts what the device has not fetched, and of that what no accepted
// wake-up covers yet.
func (d *device) unread() (unread, pending int) {
	for _, e := range d.entries {
		if !e.read {
			unread++
			if e.seq > d.covered {
				pending++
			}
		}
	}
	return unread, pending
}

// revive ends the silence: the device showed a sign of life. What it has not
// fetched may have been sent while its fetch was on the way: the ladder goes on.
func (d *device) revive() {
	d.strikes, d.more = 0, false
	if unread, _ := d.unread(); unread == 0 {
		d.climb = 0
	}
}

// newest is the seq of the newest unread entry, 0 if there is none.
func (d *device) newest() uint64 {
	for i := len(d.entries) - 1; i >= 0; i-- {
		if !d.entries[i].read {
			return d.entries[i].seq
		}
	}
	return 0
}

// hashes returns the newest unread hashes first, at most max, and whether
// there are more than that.
func (d *device) hashes(max int) (hashes []common.Hash, more bool) {
	more = d.more
	hashes = make([]common.Hash, 0, min(max, len(d.entries)))
	for i := len(d.entries) - 1; i >= 0; i-- {
		if d.entries[i].read {
			continue
		}
		if len(hashes) == max {
			return hashes, true
		}
		hashes = append(hashes, d.entries[i].hash)
	}
	return hashes, more
}

// The record at Prefix|id(8, big-endian): version, flags, then uvarints reserved,
// matched, covered, strikes, lost, since version 2 climb and when collapsed will be full
// (unix ms), the reason (length, bytes), the number of entries, and for each: flags,
// uvarint seq (difference to the one before), uvarint received (unix ms), hash. Since
// version 4 the number of dismissals, and the hash of each; since version 5 uvarint
// fetched, the number of acceptances, and for each the length of the provider's name, the
// name, and uvarint at; since version 6 the ledger, see appendLedger. Since version 3 the
// record ends with what sealChain returns, for the chain as it is once all reserved
// numbers are used.
const (
	deviceVersion  = 6
	flagMore       = 1
	flagRead       = 1
	maxReason      = 64 // bytes kept of a reason
	entryRecordMin = 1 + 1 + 1 + common.HashLength
	maxSealedChain = 2 * chainSize // bytes of a sealed chain
)

var errDeviceRecord = errors.New("device record is damaged")

// Key is where the record of a registration is kept.
func Key(id registration.ID) []byte {
	return binary.BigEndian.AppendUint64([]byte{Prefix}, uint64(id))
}

// appendRecord encodes d with a new block of sequence numbers reserved, and its chain
// sealed.
func (d *device) appendRecord(b []byte, reserved uint64, chain []byte) []byte {
	var flags byte
	if d.more {
		flags |= flagMore
	}
	b = append(b, deviceVersion, flags)
	b = binary.AppendUvarint(b, reserved)
	b = binary.AppendUvarint(b, d.matched)
	b = binary.AppendUvarint(b, d.covered)
	b = binary.AppendUvarint(b, uint64(d.strikes))
	b = binary.AppendUvarint(b, uint64(d.lost))
	b = binary.AppendUvarint(b, uint64(d.climb))
	b = binary.AppendUvarint(b, uint64(max(d.collapsed.Full.UnixMilli(), 0)))
	b = binary.AppendUvarint(b, uint64(len(d.reason)))
	b = append(b, d.reason...)
	b = binary.AppendUvarint(b, uint64(len(d.entries)))
	var last uint64
	for _, e := range d.entries {
		var flags byte
		if e.read {
			flags |= flagRead
		}
		b = append(b, flags)
		b = binary.AppendUvarint(b, e.seq-last)
		b = binary.AppendUvarint(b, uint64(e.at))
		b = append(b, e.hash[:]...)
		last = e.seq
	}
	b = binary.AppendUvarint(b, uint64(len(d.dismissed)))
	for _, h := range d.dismissed {
		b = append(b, h[:]...)
	}
	b = binary.AppendUvarint(b, uint64(d.fetched))
	b = binary.AppendUvarint(b, uint64(len(d.accepted)))
	for _, a := range d.accepted {
		b = binary.AppendUvarint(b, uint64(len(a.provider)))
		b = append(b, a.provider...)
		b = binary.AppendUvarint(b, uint64(a.at))
	}
	b = appendLedger(b, &d.ledger)
	return append(b, chain...)
}

// decodeDevice reads a record back. Every reserved number counts as used.
func decodeDevice(id registration.ID, b []byte) (*device, error) {
	bad := func(what string) (*device, error) {
		return nil, fmt.Errorf("%w: %s", errDeviceRecord, what)
	}
	if len(b) < 2 || b[0] < 1 || b[0] > deviceVersion {
		return bad("version")
	}
	version := b[0]
	d := &device{id: id, more: b[1]&flagMore != 0}
	b = b[2:]
	ok := true
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	d.reserved = next()
	d.used = d.reserved
	d.matched = next()
	d.covered = next()
	d.strikes = uint32(next())
	d.lost = uint32(next())
	if version >= 2 {
		d.climb = uint8(min(next(), pushwire.MaxRoutes))
		if full := next(); full > 0 {
			d.collapsed.Full = time.UnixMilli(int64(full))
		}
	}
	size := next()
	if !ok || size > uint64(min(len(b), maxReason)) {
		return bad("header")
	}
	d.reason, b = string(b[:size]), b[size:]
	count := next()
	if !ok || count > maxEntries || count*entryRecordMin > uint64(len(b)) {
		return bad("number of entries")
	}
	d.entries = make([]entry, 0, count)
	var last uint64
	for range count {
		if len(b) == 0 {
			return bad("entry")
		}
		e := entry{read: b[0]&flagRead != 0}
		b = b[1:]
		last += next()
		e.seq, e.at = last, int64(next())
		if !ok || len(b) < len(e.hash) {
			return bad("entry")
		}
		copy(e.hash[:], b)
		b = b[len(e.hash):]
		d.entries = append(d.entries, e)
	}
	if version >= 4 {
		count := next()
		if !ok || count > maxDismissed || count*common.HashLength > uint64(len(b)) {
			return bad("number of dismissals")
		}
		for range count {
			d.dismissed = append(d.dismissed, common.Hash(b[:common.HashLength]))
			b = b[common.HashLength:]
		}
	}
	if version >= 5 {
		d.fetched = uint32(next())
		count := next()
		if !ok || count > pushwire.MaxRoutes {
			return bad("number of acceptances")
		}
		for range count {
			size := next()
			if !ok || size > uint64(min(len(b), pushwire.MaxProviderName)) {
				return bad("acceptance")
			}
			a := acceptance{provider: string(b[:size])}
			b = b[size:]
			a.at = uint32(next())
			d.accepted = append(d.accepted, a)
		}
		if !ok {
			return bad("acceptance")
		}
	}
	if version >= 6 {
		if d.ledger, b, ok = decodeLedger(b); !ok {
			return bad("ledger")
		}
	}
	switch {
	case len(b) == 0:
	case version < 3 || len(b) > maxSealedChain:
		return bad("tail")
	default:
		d.sealed = b
	}
	return d, nil
}
