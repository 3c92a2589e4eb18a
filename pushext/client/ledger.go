package client

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// maxHeads bounds the heads of a ledger that are kept besides the base, behind which the
	// hashes begin; maxEntered bounds those hashes. What lies beyond can no longer be
	// proved.
	maxHeads   = 8
	maxEntered = 512
	// maxDoubts bounds the envelopes that the mailserver has sent and that its ledger does
	// not have yet; maxDoubtful bounds the bytes of one.
	maxDoubts   = 16
	maxDoubtful = 64 << 10
)

// ledgerState is what a device keeps of the server's ledger of what it owes the device. It
// is enough to convict a server that withholds what its answer to a History shows that it
// has.
type ledgerState struct {
	Secret hexutil.Bytes    `json:"secret"`
	Topics []hexutil.Bytes  `json:"topics,omitempty"` // that the ledger is about; none: they are not the requested ones
	Base   *evidence.Head   `json:"base,omitempty"`   // the hashes begin behind it; nil: they begin with the ledger
	Heads  []*evidence.Head `json:"heads"`            // newer ones, the oldest first and the newest last; there is at least one
	Hashes []common.Hash    `json:"hashes,omitempty"` // from Base to the last of Heads
	Doubts []doubt          `json:"doubts,omitempty"` // the oldest first
}

// doubt is an envelope that the mailserver's own word places in the archive, and that the
// ledger does not have yet.
type doubt struct {
	Page     evidence.Page `json:"page"`
	Envelope hexutil.Bytes `json:"envelope"`
}

func (l *ledgerState) newest() *evidence.Head { return l.Heads[len(l.Heads)-1] }

// from is the sequence number after which the hashes are all that matched.
func (l *ledgerState) from() uint64 {
	if l.Base == nil {
		return l.newest().Since
	}
	return l.Base.Through
}

// count is how many hashes of the ledger come before Hashes.
func (l *ledgerState) count() uint64 { return l.newest().Count - uint64(len(l.Hashes)) }

// clone returns a copy that shares nothing.
func (l *ledgerState) clone() *ledgerState {
	if l == nil {
		return nil
	}
	c := new(ledgerState)
	if text, err := json.Marshal(l); err != nil || json.Unmarshal(text, c) != nil {
		return nil
	}
	return c
}

// sound reports whether what was read from a store can be used.
func (l *ledgerState) sound() bool {
	if len(l.Heads) == 0 || slices.Contains(l.Heads, nil) || uint64(len(l.Hashes)) > l.newest().Count {
		return false
	}
	for count, at := l.count(), 0; at < len(l.Heads); at++ {
		if l.Heads[at].Count < count {
			return false
		}
		count = l.Heads[at].Count
	}
	return len(l.Secret) == pushwire.LedgerSecretSize && len(l.Heads) <= maxHeads && len(l.Hashes) <= maxEntered && len(l.Doubts) <= maxDoubts &&
		!slices.ContainsFunc(l.Topics, func(t hexutil.Bytes) bool { return len(t) != whisper.TopicSize })
}

// asksLedger is a request's question about the ledger. The caller holds mu.
func (d *Device) asksLedger() *pushwire.LedgerQuery {
	q := new(pushwire.LedgerQuery)
	if l := d.state.Ledger; l != nil {
		q.Secret, q.Count = l.Secret, l.newest().Count
	}
	return q
}

// ledger takes the head in a reply. The caller holds mu.
func (d *Device) ledger(told *pushwire.Ledger) {
	head := evidence.HeadOf(told)
	signers := d.signers()
	if !signers.Head(&head, pushwire.LedgerID(told.Secret)) {
		d.logger.Warn("a reply has a head of a ledger that the server has not signed; it is not kept")
		return
	}
	l := d.state.Ledger
	if l == nil || !bytes.Equal(l.Secret, told.Secret[:]) {
		if l != nil {
			d.logger.Debug("the server has begun another ledger", "ended", l.newest().Through, "since", told.Since, "unproved", len(l.Doubts))
			d.state.Unproved += len(l.Doubts)
		}
		d.state.Ledger = beginLedger(told, &head, d.chats)
		return
	}
	open := len(l.Doubts)
	next := l.clone() // the saved state stays unchanged
	if next == nil || !next.extend(told, &head) {
		d.logger.Warn("the heads of the server's ledger do not go on from each other; nothing before the newest can be proved", "through", head.Through)
		next = beginLedger(told, &head, d.chats)
		next.Base, next.Hashes = &head, nil
	}
	if next.Base == &head {
		d.state.Unproved += open
	}
	l, d.state.Ledger = next, next
	if proof := l.settle(signers); proof != nil {
		d.logger.Warn("the server has withheld a wake-up, and signed the contrary")
		d.state.Evidence = proof
	}
	read := uint64(0)
	if cursor, err := mailwire.ParseCursor(d.state.Cursor); err == nil && bytes.Equal(cursor.Log[:], head.Log) {
		read = cursor.Seq
	}
	l.forget(read)
}

// beginLedger is the state of a ledger that the device has not seen before.
func beginLedger(told *pushwire.Ledger, head *evidence.Head, chats []Chat) *ledgerState {
	l := &ledgerState{Secret: bytes.Clone(told.Secret[:]), Heads: []*evidence.Head{head}}
	var topics []whisper.Topic
	for _, c := range channelsOf(chats) {
		if c.Mode == pushwire.Every && c.MutedUntil == 0 {
			topics = append(topics, c.Topic)
		}
	}
	if pushwire.LedgerTopics(pushwire.TopicLeaves(told.Secret, topics)) == head.Topics {
		for _, t := range topics {
			l.Topics = append(l.Topics, t[:])
		}
	}
	if l.Hashes = slices.Clone(told.Told); !leads(pushwire.ChainBegin(pushwire.LedgerID(told.Secret)), l.Hashes, head.Chain) {
		l.Base, l.Hashes = head, nil // there were hashes before
	}
	return l
}

func leads(value common.Hash, hashes []common.Hash, to common.Hash) bool {
	for _, h := range hashes {
		value = pushwire.ChainNext(value, h)
	}
	return value == to
}

// extend moves on to a head of the same ledger. It returns false if that head does not
// follow from the one before.
func (l *ledgerState) extend(told *pushwire.Ledger, head *evidence.Head) bool {
	last := l.newest()
	switch {
	case head.Count < last.Count || head.Through < last.Through || head.Since != last.Since || head.Begun != last.Begun || head.Topics != last.Topics ||
		!bytes.Equal(head.Log, last.Log):
		return false
	case head.Count-last.Count > uint64(len(told.Told)): // more than the server reports at once
		l.Base, l.Heads, l.Hashes = head, []*evidence.Head{head}, nil
		l.Doubts = nil
		return true
	}
	fresh := told.Told[uint64(len(told.Told))-(head.Count-last.Count):]
	if !leads(last.Chain, fresh, head.Chain) {
		return false
	}
	l.Hashes = append(l.Hashes, fresh...)
	if len(l.Heads) == maxHeads {
		l.Heads = l.Heads[1:]
	}
	l.Heads = append(l.Heads, head)
	return true
}

// doubt keeps the envelopes of a page that the ledger does not have.
func (l *ledgerState) doubt(page evidence.Page, envelopes []*whisper.Envelope) {
	if page.After < l.from() {
		return // older ones can no longer be proved
	}
	for _, e := range envelopes {
		listed := slices.ContainsFunc(l.Topics, func(t hexutil.Bytes) bool { return bytes.Equal(t, e.Topic[:]) })
		if !listed || len(e.Raw()) > maxDoubtful || slices.Contains(l.Hashes, e.Hash()) {
			continue
		}
		if len(l.Doubts) == maxDoubts {
			l.Doubts = l.Doubts[1:]
		}
		l.Doubts = append(l.Doubts, doubt{page, bytes.Clone(e.Raw())})
	}
}

// settle drops the doubts that the newest head resolves, and returns evidence if one of them
// convicts the server.
func (l *ledgerState) settle(signers *evidence.Signers) (proof *evidence.Evidence) {
	l.Doubts = slices.DeleteFunc(l.Doubts, func(one doubt) bool {
		e, err := whisper.DecodeEnvelope(one.Envelope)
		if err != nil || slices.Contains(l.Hashes, e.Hash()) {
			return true
		}
		if one.Page.UpTo > l.newest().Through {
			return false
		}
		secret := [pushwire.LedgerSecretSize]byte(l.Secret)
		topics := make([]whisper.Topic, len(l.Topics))
		for i := range topics {
			topics[i] = whisper.Topic(l.Topics[i])
		}
		found := &evidence.Evidence{
			PushKey: signers.PushKey(), Ledger: pushwire.LedgerID(secret), Leaves: pushwire.TopicLeaves(secret, topics), Salt: pushwire.TopicSalt(secret, e.Topic),
			Before: l.Base, Hashes: slices.Clone(l.Hashes), After: *l.newest(), Page: one.Page, Envelope: one.Envelope,
		}
		if found.Verify() != nil {
			found.Successions = signers.Successions() // if it spans more than one push key
		}
		if found.Verify() == nil {
			proof = found
		}
		return true
	})
	return proof
}

// forget moves the base as far as the history was read, unless a doubt needs it, and further
// if too many hashes are kept.
func (l *ledgerState) forget(read uint64) {
	for _, one := range l.Doubts {
		read = min(read, one.Page.After)
	}
	for len(l.Heads) > 1 && (l.Heads[0].Through <= read || len(l.Hashes) > maxEntered) {
		l.Hashes = l.Hashes[l.Heads[0].Count-l.count():]
		l.Base, l.Heads = l.Heads[0], l.Heads[1:]
	}
	if len(l.Hashes) > maxEntered {
		l.Base, l.Hashes, l.Doubts = l.newest(), nil, nil
	}
}

// answered notes an answer to a request for mail: it shows what the mailserver has by its
// own word.
func (d *Device) answered(a mailclient.Answer) {
	if a.Proof == nil || len(a.Envelopes) == 0 {
		return
	}
	hashes := make([]common.Hash, len(a.Envelopes))
	for i, e := range a.Envelopes {
		hashes[i] = e.Hash()
	}
	page := evidence.PageOf(a.Cursor, a.Proof, hashes)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.signers().Page(&page) {
		return
	}
	if l := d.state.Ledger.clone(); l != nil {
		l.doubt(page, a.Envelopes)
		d.state.Ledger = l
	}
}

// Evidence is what convicts the server of having withheld a wake-up, for anybody to verify
// (evidence.Evidence); nil if there is none. The newest is kept with the account. A device
// finds it by itself: a History brings envelopes that no wake-up named, and the heads of the
// server's ledger, which replies carry, either have them or not.
func (d *Device) Evidence() *evidence.Evidence {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Evidence
}

// Unproved counts the envelopes that a History brought, that the server's ledger did not
// have, and whose ledger ended before it had to enter them: the server began another ledger,
// or entered more at once than it reports. An honest server does so now and then. A server
// that withholds and wants to avoid conviction has to do it each time.
func (d *Device) Unproved() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Unproved
}

// newerLedger returns the ledger that is further on.
func newerLedger(ours, base, theirs *ledgerState) *ledgerState {
	switch {
	case theirs == nil || ours != nil && !bytes.Equal(ours.Secret, theirs.Secret) && base != nil && bytes.Equal(base.Secret, theirs.Secret):
		return ours // this process began another one
	case ours != nil && bytes.Equal(ours.Secret, theirs.Secret) && ours.newest().At >= theirs.newest().At:
		return ours
	}
	return theirs
}
