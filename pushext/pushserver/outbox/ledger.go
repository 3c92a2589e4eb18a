package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
)

// A device that asks for it has a ledger: a hash chain over everything that the log had
// for it, whether or not it is woken for it. The ledger is in the device's record, so
// that it is written with the matches and the cursor, in one batch. A head of it is
// signed, so what it says must stay true whatever crashes: a head covers only what is on
// disk.
//
// The chain may hold more than it must, such as a hash twice after a crash. It never
// holds less: if a match is not entered, and its hash is not known any more, the ledger
// ends, and the device is given another one.

// keyBreaks holds a number (8 bytes, big-endian) that changes wherever sequences of the
// log were left unmatched, and when the database was last written (8, Unix ms), which
// goes with every batch. Ledgers with another number are over.
var keyBreaks = []byte{vault.Meta, 'b'}

// maxAway is how long a database may have been unwritten for its ledgers to go on. An old
// copy that was put back by hand cannot be told from a database that was not used
// meanwhile, and heads were signed since.
const maxAway = time.Minute

// Terms are what a ledger is begun with, and do not change.
type Terms struct {
	Secret [pushwire.LedgerSecretSize]byte
	Log    []byte // identity of the archive's log, at most pushwire.MaxLogID bytes
	Breaks uint64 // Outbox.Breaks, before Since was read
	Duty   uint64 // as the registry numbers what is matched
	Since  uint64 // everything after this sequence is matched by Duty
	Begun  time.Time
	Topics common.Hash // pushwire.LedgerTopics
}

// Ledger is the part of a device's ledger that can be signed: what is on disk.
type Ledger struct {
	Terms
	Through uint64        // sequence up to which everything is in the chain
	Count   uint64        // hashes in it
	Chain   common.Hash   // its value
	Told    []common.Hash // the last of them
}

// ledger is the ledger of a device. The zero value is none.
type ledger struct {
	Terms
	on   bool
	end  chainEnd
	told []common.Hash // the last hashes of the chain, at most pushwire.MaxTold

	// Not on disk: whether end differs from the disk and from the batch being written,
	// whether it is in that batch, and the latest end on disk that can be signed; its value
	// is zero if there is none.
	unsaved, saving bool
	firm            firmEnd
}

// chainEnd is how far a chain has come.
type chainEnd struct {
	count uint64
	value common.Hash
	top   uint64 // the latest sequence in it
}

// firmEnd is an end on disk, with everything up to a sequence and nothing after it.
type firmEnd struct {
	chainEnd
	through uint64
}

// firmAt notes what is on disk together with a cursor. If the chain is ahead of the
// cursor, as while a crowd is told, it cannot be signed: whoever checks what lies between
// two heads must know that none of it was in the chain before.
func (l *ledger) firmAt(end chainEnd, cursor uint64) {
	if end.top <= cursor {
		l.firm = firmEnd{end, cursor}
	}
}

// enter adds a match to the ledger of a device, and reports whether the device changed. A
// ring that somebody asked for has no sequence, and is not one of the log's matches. The
// caller holds mu and touches the device.
func (o *Outbox) enter(d *device, h common.Hash, seq uint64) bool {
	l := &d.ledger
	if !l.on || seq == 0 {
		return false
	}
	if !l.unsaved && !l.saving {
		l.firmAt(l.end, o.firmCursor) // it is about to differ from the disk
	}
	l.unsaved = true
	l.end = chainEnd{l.end.count + 1, pushwire.ChainNext(l.end.value, h), max(l.end.top, seq)}
	if len(l.told) == pushwire.MaxTold {
		l.told = slices.Delete(l.told, 0, 1)
	}
	l.told = append(l.told, h)
	return true
}

// enterQuietly is enter for a match that the device is not woken for, if it has a ledger.
// The caller holds mu. The error is the disk's.
func (o *Outbox) enterQuietly(m Match) error {
	if o.devices[m.ID] == nil && !o.known.has(m.ID) {
		return nil
	}
	d, err := o.load(m.ID)
	if err == nil && o.enter(d, m.Hash, m.Seq) {
		o.uncommitted++
		o.touch(d)
	}
	return err
}

// closeLedger ends the ledger of a device for which a match is not entered. The caller holds
// mu and touches the device.
func (o *Outbox) closeLedger(d *device) { d.ledger = ledger{} }

// LeftOut counts matches that are not recorded because more registrations listen than
// envelopes may wake: each for every one of ids. The error is the disk's; then it may be
// called again.
func (o *Outbox) LeftOut(ids []registration.ID, each int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if o.devices[id] == nil && !o.known.has(id) {
			continue
		}
		d, err := o.load(id)
		if err != nil {
			return err
		}
		if d.ledger.on {
			o.closeLedger(d)
			o.touch(d)
		}
	}
	o.m.match(each * len(ids))
	o.m.ends(each*len(ids), outcomeOverflow, "fan_out")
	return nil
}

// Skipped says that the log goes on after a gap: what was in the gap is not matched, or
// only later, under other sequences. This is on disk before the cursor passes the gap.
func (o *Outbox) Skipped() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.breaks++
	o.breaksDirty = true
	signal(o.soon)
}

// Breaks is the number at keyBreaks. It is to be read before the sequence of Terms.Since.
func (o *Outbox) Breaks() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.breaks
}

func breaksRecord(breaks uint64, now time.Time) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, breaks), registration.Millis(now))
}

// EndLedgers makes a batch end all ledgers of a database whose records may be older than
// what was signed.
func EndLedgers(b *durable.Batch, now time.Time) {
	b.Put(keyBreaks, breaksRecord(uint64(now.UnixNano()), now))
}

// readBreaks returns the number, and whether it has just become another one.
func readBreaks(s *vault.Vault, now time.Time) (breaks uint64, other bool, err error) {
	value, err := s.Get(keyBreaks)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("read the breaks of the log: %w", err)
	case len(value) != 16:
		return 0, false, fmt.Errorf("record of the breaks of the log has %d bytes, want 16", len(value))
	}
	breaks = binary.BigEndian.Uint64(value)
	if away := now.Sub(registration.FromMillis(binary.BigEndian.Uint64(value[8:]))); away.Abs() > maxAway {
		return breaks + 1, true, nil
	}
	return breaks, false, nil
}

// BeginLedger gives a device a ledger in place of the one that it has, if any.
func (o *Outbox) BeginLedger(id registration.ID, t Terms) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, err := o.load(id)
	if err != nil {
		return err
	}
	d.ledger = ledger{Terms: t, on: true, unsaved: true, end: chainEnd{value: pushwire.ChainBegin(pushwire.LedgerID(t.Secret))}}
	o.touch(d)
	return nil
}

// Ledger returns what may be signed of a device's ledger. ok is false if it has none, or
// none that is on disk yet; begun tells whether one will be. Hashes that the query says
// the device has are not kept any more. The error is the disk's.
func (o *Outbox) Ledger(id registration.ID, q *pushwire.LedgerQuery) (l Ledger, begun, ok bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.devices[id] == nil && !o.known.has(id) {
		return Ledger{}, false, false, nil
	}
	d, err := o.load(id)
	if err != nil || !d.ledger.on || d.ledger.Breaks != o.breaks {
		return Ledger{}, false, false, err
	}
	own := &d.ledger
	if !own.unsaved && !own.saving {
		own.firmAt(own.end, o.firmCursor)
	}
	firm := own.firm
	if firm.value == (common.Hash{}) {
		return Ledger{Terms: own.Terms}, true, false, nil
	}
	if bytes.Equal(q.Secret, own.Secret[:]) && q.Count <= firm.count {
		first := own.end.count - uint64(len(own.told))
		own.told = slices.Delete(own.told, 0, int(min(max(q.Count, first)-first, uint64(len(own.told)))))
	}
	told := own.told[:len(own.told)-int(min(own.end.count-firm.count, uint64(len(own.told))))]
	return Ledger{Terms: own.Terms, Through: max(firm.through, own.Since), Count: firm.count, Chain: firm.value, Told: slices.Clone(told)}, true, true, nil
}

// appendLedger encodes a ledger: a byte that is 1 if there is one, and then secret,
// topics and the chain's value, the length of the log's identity and the identity,
// uvarints breaks, duty, since, begun (unix ms), count, top, and the number of hashes,
// and the hashes.
func appendLedger(b []byte, l *ledger) []byte {
	if !l.on {
		return append(b, 0)
	}
	b = append(b, 1)
	b = append(b, l.Secret[:]...)
	b = append(b, l.Topics[:]...)
	b = append(b, l.end.value[:]...)
	b = append(b, byte(len(l.Log)))
	b = append(b, l.Log...)
	for _, n := range []uint64{l.Breaks, l.Duty, l.Since, registration.Millis(l.Begun), l.end.count, l.end.top, uint64(len(l.told))} {
		b = binary.AppendUvarint(b, n)
	}
	for i := range l.told {
		b = append(b, l.told[i][:]...)
	}
	return b
}

// decodeLedger undoes appendLedger; rest is what follows.
func decodeLedger(b []byte) (l ledger, rest []byte, ok bool) {
	take := func(n int) []byte {
		if n > len(b) {
			ok, b = false, nil
			return make([]byte, n)
		}
		taken := b[:n]
		b = b[n:]
		return taken
	}
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok, b = false, nil
			return 0
		}
		b = b[n:]
		return v
	}
	ok = true
	switch take(1)[0] {
	case 0:
		return ledger{}, b, ok
	case 1:
	default:
		return ledger{}, nil, false
	}
	l.on = true
	copy(l.Secret[:], take(len(l.Secret)))
	copy(l.Topics[:], take(len(l.Topics)))
	copy(l.end.value[:], take(len(l.end.value)))
	size := int(take(1)[0])
	if size > pushwire.MaxLogID {
		return ledger{}, nil, false
	}
	l.Log = bytes.Clone(take(size))
	l.Breaks, l.Duty, l.Since = next(), next(), next()
	l.Begun = registration.FromMillis(next())
	l.end.count, l.end.top = next(), next()
	count := next()
	if !ok || count > pushwire.MaxTold || count > l.end.count {
		return ledger{}, nil, false
	}
	for range count {
		l.told = append(l.told, common.Hash(take(common.HashLength)))
	}
	return l, b, ok
}
