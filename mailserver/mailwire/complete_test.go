package mailwire_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
)

func TestComplete(t *testing.T) {
	id, last := common.Hash{1, 31: 1}, common.Hash{2, 31: 2}
	cursor := mailwire.Cursor{Seq: 7, Until: 1600000000}
	tests := []struct {
		name string
		wire string
		want mailwire.Complete
	}{
		{"no more", string(id[:]) + string(last[:]), mailwire.Complete{ID: id, Last: last}},
		{"more", string(id[:]) + string(last[:]) + string(cursor.Bytes()), mailwire.Complete{ID: id, Last: last, Cursor: cursor}},
		{"refusal", "ERROR=" + string(id[:]) + "busy: retry after 3 s: too many", mailwire.Complete{ID: id, Refusal: mailwire.RefuseBusy(2500*time.Millisecond, "too many")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.wire, string(tt.want.Encode()))
			got, err := mailwire.DecodeComplete([]byte(tt.wire))
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}

	foreign, err := mailwire.ParseCursor([]byte("\x5f\x5e\x10\x00" + string(last[:])))
	require.NoError(t, err)
	require.EqualValues(t, 1600000000, foreign.Until)
	require.Equal(t, "\x5f\x5e\x10\x00"+string(last[:]), string(foreign.Bytes()), "it goes back as it came")

	for name, tt := range map[string]struct {
		wire string
		want mailwire.Complete
	}{
		"id only":              {string(id[:]), mailwire.Complete{ID: id}},
		"zero cursor":          {string(id[:]) + string(last[:]) + strings.Repeat("\x00", 36), mailwire.Complete{ID: id, Last: last}},
		"cursor of status-go":  {string(id[:]) + string(last[:]) + "\x5f\x5e\x10\x00" + string(last[:]), mailwire.Complete{ID: id, Last: last, Cursor: foreign}},
		"error without reason": {"ERROR=" + string(id[:]), mailwire.Complete{ID: id, Refusal: "failed: no reason given"}},
		"error with controls":  {"ERROR=" + string(id[:]) + "no\x1b[2J\n\xff", mailwire.Complete{ID: id, Refusal: "no?[2J??"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := mailwire.DecodeComplete([]byte(tt.wire))
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}

	for _, n := range []int{0, 31, 33, 63, 65, 99, 101, 105} {
		_, err := mailwire.DecodeComplete(make([]byte, n))
		require.ErrorIs(t, err, mailwire.ErrMalformed, "%d bytes", n)
	}
	_, err = mailwire.DecodeComplete([]byte("ERROR=too short for an id"))
	require.ErrorIs(t, err, mailwire.ErrMalformed)
}

func TestRefusal(t *testing.T) {
	tests := []struct {
		refusal mailwire.Refusal
		word    string
		after   time.Duration
	}{
		{mailwire.RefuseBusy(time.Minute, "x"), "busy", time.Minute},
		{mailwire.RefuseBusy(0, "x"), "busy", time.Second},
		{mailwire.Refuse(mailwire.RefusedRequest, "lower is above upper"), "request", 0},
		{"busy: retry after 99999999999999999999 s", "busy", 0},
		{"busy: retry after 4000000000 s", "busy", 24 * time.Hour},
		{"busy", "busy", 0},
		{"busybody: retry after 3 s", "", 0},
		{"query range too large", "", 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.refusal), func(t *testing.T) {
			require.Equal(t, tt.word, tt.refusal.Word())
			require.Equal(t, tt.after, tt.refusal.RetryAfter())
		})
	}
	long := mailwire.Complete{Refusal: mailwire.Refusal(strings.Repeat("é", 1000))}
	require.Len(t, long.Encode(), len("ERROR=")+32+mailwire.MaxRefusalText/2)
}

func TestParseCursor(t *testing.T) {
	log := mailwire.LogID{1, 15: 16}
	for _, c := range []mailwire.Cursor{
		{}, mailwire.Since(0), mailwire.Since(1 << 40), {Seq: 5}, {Until: 9}, {Seq: 1, Ascending: true, Complete: true},
		{Seq: 1, Log: log}, {Seq: 2, Ascending: true, Until: 9, Log: log, Mark: mailwire.MarkOf(common.Hash{1, 2, 3, 4})},
	} {
		got, err := mailwire.ParseCursor(c.Bytes())
		require.NoError(t, err)
		require.Equal(t, c, got)
		require.Contains(t, []int{0, mailwire.CursorSize}, len(c.Bytes()))
	}
	for _, b := range []string{"x", "\xff\x77\x70\x63\x04" + strings.Repeat("\x00", 31), "\xff\x77\x70\x63\x01\xff" + strings.Repeat("\x00", 30), "\xff\x77\x70\x63" + strings.Repeat("\x00", 36)} {
		_, err := mailwire.ParseCursor([]byte(b))
		require.ErrorIs(t, err, mailwire.ErrMalformed)
	}
}

// TestCursorBytes: the identity of the log lies where cursors had zeros before there
// was one, so either side may be older.
func TestCursorBytes(t *testing.T) {
	const head = "ff777063" + "01" + "0000000000000007" + "00000000"
	older, err := hex.DecodeString(head + strings.Repeat("00", 19))
	require.NoError(t, err)
	c, err := mailwire.ParseCursor(older)
	require.NoError(t, err)
	require.Equal(t, mailwire.Since(7), c)
	require.Equal(t, older, c.Bytes())

	newer, err := hex.DecodeString(head + "000102030405060708090a0b0c0d0e0f" + "a1a2a3")
	require.NoError(t, err)
	c, err = mailwire.ParseCursor(newer)
	require.NoError(t, err)
	log := mailwire.LogID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	require.Equal(t, mailwire.Cursor{Seq: 7, Ascending: true, Log: log, Mark: mailwire.CursorMark{0xa1, 0xa2, 0xa3}}, c)
	require.Equal(t, c, c.Resume())
	require.Equal(t, newer, c.Bytes())
}

func TestCursorOfAnotherLog(t *testing.T) {
	ours, theirs := mailwire.LogID{1}, mailwire.LogID{2}
	for _, tt := range []struct{ cursor, in, resumed mailwire.Cursor }{
		{mailwire.Since(7), mailwire.Since(7), mailwire.Since(7)},
		{mailwire.Cursor{Seq: 7, Until: 9, Log: ours}, mailwire.Cursor{Seq: 7, Until: 9, Log: ours}, mailwire.Cursor{Seq: 7, Ascending: true, Log: ours}},
		{mailwire.Cursor{Seq: 7, Until: 9, Log: theirs}, mailwire.Cursor{}, mailwire.Cursor{Seq: 7, Ascending: true, Log: theirs}},
		{mailwire.Cursor{Seq: 7, Ascending: true, Complete: true, Log: theirs}, mailwire.Since(0), mailwire.Cursor{Seq: 7, Ascending: true, Log: theirs}},
	} {
		require.Equal(t, tt.in, tt.cursor.In(ours))
		require.Equal(t, tt.resumed, tt.cursor.Resume())
	}
	foreign, err := mailwire.ParseCursor([]byte("\x5f\x5e\x10\x00" + strings.Repeat("x", 32)))
	require.NoError(t, err)
	require.Equal(t, foreign, foreign.In(ours), "of another make: it has a time and no log")
}

// A proof is of the mailserver's word for every envelope sent, in their order, and of their
// place in the log.
func TestProofOfAnEndMark(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	sent := []common.Hash{{1}, {2}}
	mark := mailwire.Complete{ID: common.Hash{1}, Last: sent[1], Cursor: mailwire.Cursor{Ascending: true, Seq: 8, Log: mailwire.LogID{3}}, Proof: &mailwire.Proof{After: 3, At: 4}}
	statement := mailwire.StatementOf(mark.Cursor, mark.Proof, sent)
	signature, err := crypto.Sign(statement.Digest(), key)
	require.NoError(t, err)
	copy(mark.Proof.Signature[:], signature)

	got, err := mailwire.DecodeComplete(mark.Encode())
	require.NoError(t, err)
	require.Equal(t, mark, got)
	require.Len(t, mark.Encode(), 2*32+36+80)
	statement = mailwire.StatementOf(got.Cursor, got.Proof, sent)
	require.True(t, statement.SignedBy(crypto.CompressPubkey(&key.PublicKey), got.Proof.Signature))
	for name, change := range map[string]func(*mailwire.Statement){
		"log": func(s *mailwire.Statement) { s.Log[0]++ }, "after": func(s *mailwire.Statement) { s.After++ },
		"up to": func(s *mailwire.Statement) { s.UpTo++ }, "at": func(s *mailwire.Statement) { s.At++ },
		"order": func(s *mailwire.Statement) { s.Hashes = []common.Hash{{2}, {1}} }, "fewer": func(s *mailwire.Statement) { s.Hashes = sent[:1] },
	} {
		other := statement
		change(&other)
		require.False(t, other.SignedBy(crypto.CompressPubkey(&key.PublicKey), got.Proof.Signature), name)
	}
}

func FuzzDecodeComplete(f *testing.F) {
	f.Add(mailwire.Complete{ID: common.Hash{1}}.Encode())
	f.Add(mailwire.Complete{ID: common.Hash{1}, Last: common.Hash{2}, Cursor: mailwire.Since(8)}.Encode())
	f.Add(mailwire.Complete{ID: common.Hash{1}, Last: common.Hash{2}, Cursor: mailwire.Cursor{Seq: 8, Log: mailwire.LogID{3}, Mark: mailwire.CursorMark{4}}}.Encode())
	f.Add(mailwire.Complete{ID: common.Hash{1}, Refusal: mailwire.RefuseBusy(time.Hour, "x")}.Encode())
	f.Add(mailwire.Complete{ID: common.Hash{1}, Last: common.Hash{2}, Cursor: mailwire.Since(8), Proof: &mailwire.Proof{After: 3, At: 4}}.Encode())
	f.Add(make([]byte, 2*32+36+80))
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := mailwire.DecodeComplete(b)
		if err != nil {
			require.ErrorIs(t, err, mailwire.ErrMalformed)
			return
		}
		require.LessOrEqual(t, c.Refusal.RetryAfter(), 24*time.Hour)
		if bytes.HasPrefix(c.ID[:], []byte("ERROR=")) {
			return // no hash begins like this: one in 2^48
		}
		again, err := mailwire.DecodeComplete(c.Encode())
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
