package client

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/client/evidence"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

var updateVectors = flag.Bool("update", false, "write web/vectors/testdata/go/ledger.json anew")

const (
	ledgerFile   = "../../web/vectors/testdata/go/ledger.json"
	ledgerFileTS = "../../web/vectors/testdata/typescript/ledger.json"
)

// ledgerVectors are what servers told devices of their ledgers, and what the devices made of it.
// The TypeScript package replays it (web/client/test/vectors-ledger.test.ts).
type ledgerVectors struct {
	Histories []*ledgerHistory `json:"histories"`
}

type ledgerHistory struct {
	Name    string        `json:"name"`
	PushKey hexutil.Bytes `json:"pushKey"`
	Topic   hexutil.Bytes `json:"topic"`
	Key     hexutil.Bytes `json:"key"`
	Steps   []*ledgerStep `json:"steps"`
}

// ledgerStep is one thing that happens, by the field that is set.
type ledgerStep struct {
	Reply     *ledgerTold     `json:"reply,omitempty"`
	Page      *evidence.Page  `json:"page,omitempty"`
	Envelopes []hexutil.Bytes `json:"envelopes,omitempty"` // of Page
	Cursor    uint64          `json:"cursor,omitempty"`    // the history was read up to it
	Want      ledgerWant      `json:"want"`
}

// ledgerTold is the ledger of a reply.
type ledgerTold struct {
	Secret hexutil.Bytes `json:"secret"`
	evidence.Head
	Told []common.Hash `json:"told"`
}

type ledgerWant struct {
	Count    uint64             `json:"count"`  // that is asked for
	Base     bool               `json:"base"`   // the hashes begin behind a head
	Heads    int                `json:"heads"`  // kept
	Hashes   int                `json:"hashes"` // kept
	Last     *common.Hash       `json:"last,omitempty"`
	Doubts   int                `json:"doubts"`             // open
	Unproved int                `json:"unproved"`           // so far
	Evidence *evidence.Evidence `json:"evidence,omitempty"` // found in this step
}

func wantOf(d *Device) ledgerWant {
	w := ledgerWant{Count: d.asksLedger().Count, Unproved: d.state.Unproved, Evidence: d.state.Evidence}
	if l := d.state.Ledger; l != nil {
		w.Base, w.Heads, w.Doubts, w.Hashes = l.Base != nil, len(l.Heads), len(l.Doubts), len(l.Hashes)
		if w.Hashes > 0 {
			w.Last = &l.Hashes[w.Hashes-1]
		}
	}
	return w
}

// do does a step.
func (s *ledgerStep) do(t *testing.T, d *Device) {
	d.state.Evidence = nil
	switch {
	case s.Reply != nil:
		told := pushwire.Ledger{Secret: [pushwire.LedgerSecretSize]byte(s.Reply.Secret), Told: s.Reply.Told, Signature: [pushwire.SignatureSize]byte(s.Reply.Signature)}
		h := &s.Reply.Head
		told.Head = pushwire.Head{Log: h.Log, Since: h.Since, Begun: h.Begun, Topics: h.Topics, Through: h.Through, At: h.At, Count: h.Count, Chain: h.Chain}
		d.ledger(&told)
	case s.Page != nil:
		a := mailclient.Answer{
			Proof:  &mailwire.Proof{After: s.Page.After, At: s.Page.At, Signature: [mailwire.SignatureSize]byte(s.Page.Signature)},
			Cursor: mailwire.Cursor{Ascending: true, Seq: s.Page.UpTo, Log: mailwire.LogID(s.Page.Log)},
		}
		for _, raw := range s.Envelopes {
			e, err := whisper.DecodeEnvelope(raw)
			require.NoError(t, err)
			a.Envelopes = append(a.Envelopes, e)
		}
		d.answered(a)
	case s.Cursor != 0:
		d.state.Cursor = mailwire.Cursor{Ascending: true, Seq: s.Cursor, Log: mailwire.LogID(d.state.Ledger.newest().Log)}.Bytes()
	}
}

func (h *ledgerHistory) device(t *testing.T) *Device {
	state, err := newState(time.Now())
	require.NoError(t, err)
	chat := Chat{Name: "family", Topic: whisper.Topic(h.Topic), Key: h.Key}
	return &Device{keep: &keeper{account: hex.EncodeToString(h.PushKey)}, state: state, logger: slog.New(slog.DiscardHandler), chats: []Chat{chat}}
}

// scribe is a bookkeeper whose words are written down.
type scribe struct {
	*bookkeeper
	history *ledgerHistory
}

func newScribe(t *testing.T, name string) *scribe {
	b := newBookkeeper(t)
	chat := family()
	s := &scribe{b, &ledgerHistory{Name: name, PushKey: b.device.signers().PushKey(), Topic: chat.Topic[:], Key: chat.Key}}
	s.device = s.history.device(t)
	return s
}

func (s *scribe) step(step ledgerStep) {
	step.do(s.t, s.device)
	step.Want = wantOf(s.device)
	s.history.Steps = append(s.history.Steps, &step)
}

func (s *scribe) reply(change ...func(*pushwire.Ledger)) {
	s.told.At++
	l := s.told
	if q := s.device.asksLedger(); string(q.Secret) == string(l.Secret[:]) {
		l.Told = l.Told[max(0, len(l.Told)-int(l.Count-min(q.Count, l.Count))):]
	}
	for _, c := range change {
		c(&l)
	}
	s.tell(&l)
	if len(change) > 1 {
		change[1](&l) // behind the signature
	}
	s.step(ledgerStep{Reply: &ledgerTold{l.Secret[:], evidence.HeadOf(&l), append([]common.Hash{}, l.Told...)}})
}

func (s *scribe) answer(after, upTo uint64, envelopes ...*whisper.Envelope) {
	page := &evidence.Page{Log: s.told.Log, After: after, UpTo: upTo, At: s.told.At}
	step := ledgerStep{Page: page}
	for _, e := range envelopes {
		page.Hashes = append(page.Hashes, e.Hash())
		step.Envelopes = append(step.Envelopes, e.Raw())
	}
	statement := mailwire.Statement{Log: mailwire.LogID(page.Log), After: after, UpTo: upTo, At: page.At, Hashes: page.Hashes}
	page.Signature = s.sign(statement.Digest())[:mailwire.SignatureSize]
	s.step(step)
}

func ledgerHistories(t *testing.T) []*ledgerHistory {
	s := newScribe(t, "a server that withholds")
	s.reply()
	s.enter(numbered(1, 3)...)
	s.reply()
	fine, late, withheld := letter(t, "fine", 0), letter(t, "late", 0), letter(t, "withheld", 0)
	s.enter(fine.Hash())
	s.answer(10, 15, fine, late, withheld)
	s.reply()
	s.enter(late.Hash())
	s.reply() // convicted, from the ledger's beginning
	s.step(ledgerStep{Cursor: 14})
	s.reply()
	s.answer(14, 16, withheld)
	s.enter(numbered(20, 1)...)
	s.reply() // and from a head on
	s.answer(16, 17, withheld)
	s.begin(2)
	s.enter(numbered(30, 9)...)
	s.reply() // another ledger: unproved
	s.answer(19, 20, withheld)
	s.enter(numbered(40, 2*pushwire.MaxTold)...)
	s.reply() // more than is told
	s.answer(1, 200, withheld)

	h := newScribe(t, "a server that says this and that")
	h.reply()
	for i := range 14 {
		h.enter(numbered(100*i, 50)...)
		h.reply()
	}
	h.reply(func(*pushwire.Ledger) {}, func(l *pushwire.Ledger) { l.Signature[0]++ })
	for _, change := range []func(*pushwire.Ledger){
		func(l *pushwire.Ledger) { l.Count, l.Told = 3, nil },
		func(l *pushwire.Ledger) { l.Through -= 5 },
		func(l *pushwire.Ledger) { l.Since++ },
		func(l *pushwire.Ledger) { l.Topics[0]++ },
		func(l *pushwire.Ledger) { l.Chain[0]++ },
		func(l *pushwire.Ledger) { l.Log = nil },
	} {
		h.begin(3)
		h.enter(numbered(1, 9)...)
		h.reply()
		h.reply(change)
	}

	d := newScribe(t, "what is no doubt")
	d.reply()
	d.answer(9, 15, fine) // of before the ledger
	other, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("x"), Topic: whisper.Topic{1}, Key: family().Key})
	require.NoError(t, err)
	d.answer(10, 15, other)
	sign := d.sign
	d.sign = func([]byte) []byte { return make([]byte, 65) }
	d.answer(10, 15, fine)
	d.sign = sign
	for range maxDoubts + 3 {
		d.answer(10, 15, letter(t, "x", 0))
	}
	d.begin(4)
	d.told.Topics[0]++ // of other topics than those that were registered
	d.reply()
	d.answer(10, 15, fine)
	return []*ledgerHistory{s.history, h.history, d.history}
}

// TestLedgerVectors holds the device to what is written, and with -update writes it anew.
func TestLedgerVectors(t *testing.T) {
	if *updateVectors {
		text, err := json.MarshalIndent(ledgerVectors{ledgerHistories(t)}, "", "\t")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(ledgerFile, append(text, '\n'), 0o644))
	}
	text, err := os.ReadFile(ledgerFile)
	require.NoError(t, err)
	var v ledgerVectors
	require.NoError(t, json.Unmarshal(text, &v))
	require.Len(t, v.Histories, 3)
	convicted := 0
	for _, h := range v.Histories {
		d := h.device(t)
		for at, step := range h.Steps {
			step.do(t, d)
			want, err := json.Marshal(step.Want)
			require.NoError(t, err)
			got, err := json.Marshal(wantOf(d))
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(got), "%s, step %d", h.Name, at)
			if step.Want.Evidence != nil {
				require.NoError(t, step.Want.Evidence.Verify())
				convicted++
			}
		}
	}
	require.NotZero(t, convicted)
}

// What the TypeScript package finds convicts the server here too.
func TestEvidenceOfTypeScript(t *testing.T) {
	text, err := os.ReadFile(ledgerFileTS)
	require.NoError(t, err)
	var files struct {
		Evidence []string `json:"evidence"`
	}
	require.NoError(t, json.Unmarshal(text, &files))
	require.GreaterOrEqual(t, len(files.Evidence), 2)
	for _, file := range files.Evidence {
		e, err := evidence.Decode([]byte(file))
		require.NoError(t, err)
		require.NoError(t, e.Verify())
		e.Page.Hashes[0][0]++
		require.ErrorIs(t, e.Verify(), evidence.ErrUnproved)
	}
}
