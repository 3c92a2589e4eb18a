package client

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

// bookkeeper signs ledgers as a server does, of what the test enters.
type bookkeeper struct {
	t      *testing.T
	device *Device
	sign   func(digest []byte) []byte
	told   pushwire.Ledger // as it would be told to one that knows nothing
	tell   func(*pushwire.Ledger)
}

func newBookkeeper(t *testing.T) *bookkeeper {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	state, err := newState(time.Now())
	require.NoError(t, err)
	b := &bookkeeper{t: t, device: &Device{keep: &keeper{account: hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey))}, state: state, logger: slog.New(slog.DiscardHandler), chats: []Chat{family()}}}
	b.tell = func(l *pushwire.Ledger) { require.NoError(t, l.Sign(key)) }
	b.sign = func(digest []byte) []byte {
		signature, err := crypto.Sign(digest, key)
		require.NoError(t, err)
		return signature
	}
	b.begin(1)
	return b
}

// begin begins another ledger.
func (b *bookkeeper) begin(number byte) {
	secret := [pushwire.LedgerSecretSize]byte{number}
	b.told = pushwire.Ledger{Secret: secret, Head: pushwire.Head{
		Log: bytes.Repeat([]byte{7}, 16), Since: 10, Begun: 1000, Through: 10, At: 1000,
		Topics: pushwire.LedgerTopics(pushwire.TopicLeaves(secret, []whisper.Topic{family().Topic})), Chain: pushwire.ChainBegin(pushwire.LedgerID(secret)),
	}}
}

// enter enters hashes, each at the next sequence.
func (b *bookkeeper) enter(hashes ...common.Hash) {
	for _, h := range hashes {
		b.told.Count, b.told.Through, b.told.Chain = b.told.Count+1, b.told.Through+1, pushwire.ChainNext(b.told.Chain, h)
		b.told.Told = append(b.told.Told, h)
	}
	b.told.Told = b.told.Told[max(0, len(b.told.Told)-pushwire.MaxTold):]
}

// reply has the device take a head, and returns what it keeps.
func (b *bookkeeper) reply() *ledgerState {
	b.told.At++
	l := b.told
	if q := b.device.asksLedger(); bytes.Equal(q.Secret, l.Secret[:]) {
		l.Told = l.Told[max(0, len(l.Told)-int(l.Count-q.Count)):]
	}
	b.tell(&l)
	b.device.ledger(&l)
	state := b.device.state.Ledger
	require.True(b.t, state.sound())
	text, err := json.Marshal(b.device.state)
	require.NoError(b.t, err)
	again, err := readState(text)
	require.NoError(b.t, err)
	kept, err := json.Marshal(again)
	require.NoError(b.t, err)
	require.JSONEq(b.t, string(text), string(kept), "it is kept as it is")
	return state
}

// answer is one of the mailserver to a History.
func (b *bookkeeper) answer(after, upTo uint64, envelopes ...*whisper.Envelope) {
	a := mailclient.Answer{Envelopes: envelopes, Proof: &mailwire.Proof{After: after, At: b.told.At}, Cursor: mailwire.Cursor{Ascending: true, Seq: upTo, Log: mailwire.LogID(b.told.Log)}}
	var hashes []common.Hash
	for _, e := range envelopes {
		hashes = append(hashes, e.Hash())
	}
	s := mailwire.StatementOf(a.Cursor, a.Proof, hashes)
	copy(a.Proof.Signature[:], b.sign(s.Digest()))
	b.device.answered(a)
}

func numbered(from, n int) (hashes []common.Hash) {
	for i := range n {
		hashes = append(hashes, memlog.Hash(uint64(from+i)))
	}
	return hashes
}

// A device follows the heads from one to the next, and convicts of what is between two of
// them and is not told, and of nothing else.
func TestLedgerConvicts(t *testing.T) {
	b := newBookkeeper(t)
	require.Zero(t, b.device.asksLedger().Count)
	require.Empty(t, b.reply().Hashes)
	b.enter(numbered(1, 3)...)
	require.Equal(t, numbered(1, 3), b.reply().Hashes)
	require.EqualValues(t, 3, b.device.asksLedger().Count)

	fine, late, withheld := letter(t, "fine", 0), letter(t, "late", 0), letter(t, "withheld", 0)
	b.enter(fine.Hash())
	b.answer(10, 15, fine, late, withheld)
	require.Len(t, b.device.state.Ledger.Doubts, 3, "of what the head that it has does not tell yet")
	require.Len(t, b.reply().Doubts, 2)
	require.Nil(t, b.device.Evidence(), "the head is not so far")
	b.enter(late.Hash())
	require.Empty(t, b.reply().Doubts)
	found := b.device.Evidence()
	require.NotNil(t, found)
	require.NoError(t, found.Verify())
	require.Equal(t, withheld.Raw(), []byte(found.Envelope))

	// The same from a later head on, and of a ledger that began anew nothing.
	b.device.state.Evidence = nil
	b.device.state.Cursor = mailwire.Cursor{Ascending: true, Seq: 14, Log: mailwire.LogID(b.told.Log)}.Bytes()
	require.NotNil(t, b.reply().Base)
	b.answer(14, 16, withheld)
	b.enter(numbered(20, 1)...)
	b.reply()
	require.NotNil(t, b.device.Evidence())
	require.NotNil(t, b.device.Evidence().Before)
	b.device.state.Evidence = nil
	b.answer(16, 17, withheld)
	b.begin(2)
	b.enter(numbered(30, 9)...)
	require.Zero(t, b.device.Unproved())
	require.Empty(t, b.reply().Doubts)
	require.Nil(t, b.device.Evidence())
	require.Equal(t, 1, b.device.Unproved(), "it was open when the ledger ended")
	b.answer(19, 20, withheld)
	require.Len(t, b.device.state.Ledger.Doubts, 1)
	b.enter(numbered(40, 2*pushwire.MaxTold)...)
	b.reply()
	require.Nil(t, b.device.Evidence())
	require.Equal(t, 2, b.device.Unproved(), "or when more was entered than is told")
}

// What is not on the ledger's topics, not signed, or of before what the device remembers is
// no doubt.
func TestLedgerDoubts(t *testing.T) {
	b := newBookkeeper(t)
	b.reply()
	e := letter(t, "x", 0)
	b.answer(9, 15, e)
	require.Empty(t, b.device.state.Ledger.Doubts, "before the ledger began")
	sign := b.sign
	b.sign = func([]byte) []byte { return make([]byte, 65) }
	b.answer(10, 15, e)
	require.Empty(t, b.device.state.Ledger.Doubts, "not signed")
	b.sign = sign
	other, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("x"), Topic: whisper.Topic{1}, Key: family().Key})
	require.NoError(t, err)
	b.answer(10, 15, other)
	require.Empty(t, b.device.state.Ledger.Doubts, "another topic")
	for range 3 * maxDoubts {
		b.answer(10, 15, letter(t, "x", 0))
	}
	require.Len(t, b.device.state.Ledger.Doubts, maxDoubts)
	b.reply()
}

// A server cannot have a device keep more than it will, nor confuse it.
func TestLedgerOfAHostileServer(t *testing.T) {
	b := newBookkeeper(t)
	b.reply()
	for i := range 100 {
		b.enter(numbered(100*i, 50)...)
		l := b.reply()
		require.LessOrEqual(t, len(l.Hashes), maxEntered)
		require.LessOrEqual(t, len(l.Heads), maxHeads)
	}
	b.enter(numbered(0, 3*pushwire.MaxTold)...)
	l := b.reply()
	require.NotNil(t, l.Base)
	require.Empty(t, l.Hashes, "more than it was told")

	before := *b.device.state.Ledger
	tell := b.tell
	b.tell = func(l *pushwire.Ledger) { tell(l); l.Signature[0]++ }
	b.reply()
	require.Equal(t, before, *b.device.state.Ledger, "not signed")
	b.tell = tell
	for name, change := range map[string]func(*pushwire.Ledger){
		"fewer":          func(l *pushwire.Ledger) { l.Count, l.Told = 3, nil },
		"further back":   func(l *pushwire.Ledger) { l.Through -= 5 },
		"another since":  func(l *pushwire.Ledger) { l.Since++ },
		"another topics": func(l *pushwire.Ledger) { l.Topics[0]++ },
		"another chain":  func(l *pushwire.Ledger) { l.Chain[0]++ },
		"another log":    func(l *pushwire.Ledger) { l.Log = nil },
	} {
		b.begin(3)
		b.enter(numbered(1, 9)...)
		b.reply()
		b.tell = func(l *pushwire.Ledger) { change(l); tell(l) }
		l := b.reply()
		require.Empty(t, l.Hashes, name)
		require.Equal(t, l.Heads[0], l.Base, name)
		require.Nil(t, b.device.Evidence(), name)
		b.tell = tell
	}
}

// Of two processes with one account the one that asked last has the newest head; what is
// damaged is begun anew.
func TestLedgerInTheStore(t *testing.T) {
	b := newBookkeeper(t)
	old := b.reply().clone()
	b.enter(numbered(1, 2)...)
	newer := b.reply().clone()
	require.Equal(t, newer, newerLedger(old, old, newer))
	require.Equal(t, newer, newerLedger(newer, old, old))
	require.Equal(t, newer, newerLedger(nil, nil, newer))
	require.Equal(t, newer, newerLedger(newer, nil, nil))
	b.begin(2)
	another := b.reply().clone()
	require.Equal(t, another, newerLedger(another, newer, newer))
	require.Equal(t, another, newerLedger(newer, newer, another))
	for name, damage := range map[string]func(*ledgerState){
		"secret": func(l *ledgerState) { l.Secret = nil },
		"heads":  func(l *ledgerState) { l.Heads = nil },
		"head":   func(l *ledgerState) { l.Heads[0] = nil },
		"hashes": func(l *ledgerState) { l.Hashes = numbered(0, 3) },
		"count":  func(l *ledgerState) { l.Heads = append(l.Heads, l.Heads[0]); l.Heads[0] = old.Heads[0]; l.Hashes = nil },
		"topics": func(l *ledgerState) { l.Topics[0] = nil },
	} {
		l := newer.clone()
		damage(l)
		require.False(t, l.sound(), name)
	}
}
