package mailserver

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/desk"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

func TestTimeEdges(t *testing.T) {
	const maxTime = math.MaxUint32
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Range = 200 * 365 * 24 * time.Hour }, func(t *testing.T, b *bench) {
		env := func(expiry, ttl uint32) common.Hash {
			raw := []byte{0xd4, 0x84, byte(expiry >> 24), byte(expiry >> 16), byte(expiry >> 8), byte(expiry)}
			raw = append(raw, 0x84, byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl))
			raw = append(raw, 0x84, 1, 2, 3, 4, 0x83, 9, 9, 9, 0x80)
			raw[0] = 0xc0 + byte(len(raw)-1)
			e, err := whisper.DecodeEnvelope(raw)
			require.NoError(t, err)
			b.store.add(e)
			return e.Hash()
		}
		older := env(1<<30, 1<<31)        // TTL beyond expiry: sent at 0
		newest := env(maxTime, 1<<24)     // expiry at the end of time
		inside := env(1<<30+1<<24, 1<<24) // sent at 2^30
		everything := []common.Hash{older, inside, newest}

		tests := []struct {
			name         string
			lower, upper uint32
			want         []common.Hash
		}{
			{"upper at the end of time", 0, maxTime, everything},
			{"upper one before", 0, maxTime - 1, everything},
			{"one second", 1 << 30, 1 << 30, []common.Hash{inside}},
			{"lower above upper", 1 << 30, 1<<30 - 1, nil},
			{"end of time alone", maxTime, maxTime, nil},
			{"zero alone", 0, 0, []common.Hash{older}},
		}
		for _, tt := range tests {
			got, _ := b.answer(mailwire.Request{Lower: tt.lower, Upper: tt.upper})
			require.Equal(t, tt.want, got, tt.name)
		}
		got, end := b.answer(mailwire.Request{Form: mailwire.List})
		require.Empty(t, end.Refusal, "upper 0 in a list means to the end")
		require.ElementsMatch(t, everything, got)
		_, end = b.answer(mailwire.Request{Form: mailwire.List, Lower: 2, Upper: 1})
		require.Equal(t, mailwire.RefusedRequest, end.Refusal.Word())
		_, end = b.answer(mailwire.Request{Form: mailwire.Fixed, Lower: 2, Upper: 1})
		require.Equal(t, mailwire.RefusedRequest, end.Refusal.Word())
	})
}

func TestPages(t *testing.T) {
	for _, form := range []mailwire.Form{mailwire.Fixed, mailwire.List, mailwire.Plain} {
		t.Run(form.String(), func(t *testing.T) {
			inBench(t, func(cfg *ServerConfig) { cfg.Plain = true }, func(t *testing.T, b *bench) {
				want := b.fill(25)
				r := all(form)
				r.Limit, r.Batch = 10, form == mailwire.Plain
				var got []common.Hash
				for _, n := range []int{10, 10, 5} {
					hashes, end := b.answer(r)
					require.Empty(t, end.Refusal)
					require.Len(t, hashes, n)
					require.Equal(t, hashes[n-1], end.Last)
					got = append(got, hashes...)
					r.Cursor = end.Cursor
				}
				require.Zero(t, r.Cursor, "no more")
				for i := range want {
					require.Equal(t, want[len(want)-1-i], got[i], "newest first, none twice")
				}
			})
		})
	}
}

func TestTopicsAndBloom(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.fill(9)
		r := all(mailwire.List)
		r.Topics = []whisper.Topic{topic(1), topic(2)}
		got, _ := b.answer(r)
		require.Len(t, got, 6)

		bloom := topic(2).Bloom()
		for _, form := range []mailwire.Form{mailwire.Classic, mailwire.Fixed, mailwire.List} {
			r := all(form)
			r.Bloom = &bloom
			got, _ := b.answer(r)
			require.Len(t, got, 3, form)
		}
	})
}

func TestHashes(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		have := b.fill(20)
		r := mailwire.Request{Form: mailwire.List, Lower: 5, Upper: 4, Hashes: []common.Hash{have[3], {1}, have[1]}}
		for _, i := range []int{5, 6, 7, 8, 9, 10, 11, 12} {
			r.Hashes = append(r.Hashes, have[i])
		}
		got, end := b.answer(r)
		require.Equal(t, append([]common.Hash{have[3], have[1]}, have[5:13]...), got, "as asked for, whatever the range")
		require.Equal(t, have[12], end.Last)
		require.Zero(t, end.Cursor)

		got, end = b.answer(mailwire.Request{Form: mailwire.List, Hashes: []common.Hash{{1}}})
		require.Empty(t, got)
		require.Zero(t, end.Last)
		require.Empty(t, end.Refusal)
	})
}

// TestLateArrival: an envelope that claims an old time is committed after the
// client's window was answered. The next question returns it.
func TestLateArrival(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		want := b.fill(5)
		r := all(mailwire.List)
		r.Cursor, r.Limit = mailwire.Since(0), 3

		got, end := b.answer(r)
		require.Equal(t, want[:3], got)
		require.False(t, end.Cursor.Complete)
		r.Cursor = end.Cursor
		got, end = b.answer(r)
		require.Equal(t, want[3:], got)
		require.Equal(t, mailwire.Cursor{Seq: 5, Ascending: true, Complete: true, Mark: mailwire.MarkOf(want[4])}, end.Cursor)
		r.Cursor = end.Cursor
		got, end = b.answer(r)
		require.Empty(t, got, "nothing new")
		require.Equal(t, r.Cursor, end.Cursor)

		late := b.envelope(uint32(time.Now().Add(-29*24*time.Hour).Unix()), topic(9))
		b.store.add(late)
		got, end = b.answer(r)
		require.Equal(t, []common.Hash{late.Hash()}, got)
		require.EqualValues(t, 6, end.Cursor.Seq)

		// What does not match is not looked at again.
		r.Topics = []whisper.Topic{{0x77}}
		_, end = b.answer(r)
		require.EqualValues(t, 6, end.Cursor.Seq)

		// The cursor is from another, longer log.
		r = all(mailwire.List)
		r.Cursor = mailwire.Since(1000)
		got, end = b.answer(r)
		require.Len(t, got, 6)
		require.EqualValues(t, 6, end.Cursor.Seq)
	})
}

// TestCursorOfAnotherLog: the server was installed again, and its log is longer than
// the old one by now.
func TestCursorOfAnotherLog(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.store.id = mailwire.LogID{1}
		former := b.fill(20)
		r := all(mailwire.List)
		r.Cursor, r.Limit = mailwire.Since(0), 15
		old, end := b.answer(r)
		require.Len(t, old, 15)
		require.Equal(t, b.store.id, end.Cursor.Log)
		r.Limit = 0
		r.Cursor = end.Cursor.Resume()
		got, end := b.answer(r)
		require.Len(t, got, 5, "the log is the same: what follows the cursor")
		require.Equal(t, mailwire.Cursor{Seq: 20, Ascending: true, Complete: true, Log: b.store.id, Mark: mailwire.MarkOf(former[19])}, end.Cursor)

		descending := all(mailwire.List)
		descending.Limit = 5
		_, page := b.answer(descending)
		require.Equal(t, b.store.id, page.Cursor.Log)
		descending.Cursor = page.Cursor
		got, _ = b.answer(descending)
		require.Len(t, got, 5)

		b.store.records, b.store.id = nil, mailwire.LogID{2}
		want := b.fill(30)
		r.Cursor = end.Cursor.Resume()
		got, end = b.answer(r)
		require.Equal(t, want, got, "all that the new log has")
		require.Equal(t, mailwire.Cursor{Seq: 30, Ascending: true, Complete: true, Log: b.store.id, Mark: mailwire.MarkOf(want[29])}, end.Cursor)
		got, page = b.answer(descending)
		require.Equal(t, want[29], got[0], "from the newest on, as without a cursor")
		require.Equal(t, b.store.id, page.Cursor.Log)

		// A client that knows no identities keeps what it had.
		r.Cursor = mailwire.Since(15)
		got, _ = b.answer(r)
		require.Equal(t, want[15:], got)
	})
}

// TestArchivePutBack: a copy of the archive is put back, and goes on from there. It
// has the identity it had, and gives other envelopes the sequences that a device has
// seen already.
func TestArchivePutBack(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.store.id = mailwire.LogID{1}
		b.fill(20)
		r := all(mailwire.List)
		r.Cursor = mailwire.Since(0)
		_, end := b.answer(r)

		b.store.records = b.store.records[:12]
		r.Cursor = end.Cursor.Resume()
		got, _ := b.answer(r)
		require.Len(t, got, 12, "it ends before the cursor")
		time.Sleep(time.Hour)
		b.fill(18)
		got, again := b.answer(r)
		require.Len(t, got, 30, "all it has, what follows the copy among it")
		r.Cursor = again.Cursor.Resume()
		got, _ = b.answer(r)
		require.Empty(t, got, "and then what is new")

		// What was put back is what the device had seen: nothing is given again.
		r.Cursor = mailwire.Since(0)
		r.Limit = 12
		_, end = b.answer(r)
		require.EqualValues(t, 12, end.Cursor.Seq)
		b.store.records = b.store.records[:12]
		b.fill(3)
		r.Cursor, r.Limit = end.Cursor.Resume(), 0
		got, _ = b.answer(r)
		require.Len(t, got, 3)
	})
}

// TestReinstalledArchive is the same with the real archive: the device's cursor is
// in the middle of what the new one holds.
func TestReinstalledArchive(t *testing.T) {
	ask := func(dir string, n int, cursor mailwire.Cursor) (int, mailwire.Cursor) {
		a, err := archive.Open(dir, archive.Options{Retention: -1})
		require.NoError(t, err)
		defer a.Close()
		var envs []*whisper.Envelope
		for range n {
			e, err := whisper.Seal(t.Context(), whisper.Draft{Topic: topic(1), TTL: 10, Key: serverKey})
			require.NoError(t, err)
			envs = append(envs, e)
		}
		archiveAll(t, a, envs...)
		s, err := NewServer(ServerConfig{Store: a, Sender: new(recorder), Key: serverKey})
		require.NoError(t, err)
		q := question{Request: mailwire.Request{Form: mailwire.List, Upper: math.MaxUint32, Cursor: cursor.Resume()}, known: true}
		inTurn(bob, func(turn *desk.Turn) { _, err = s.answer(t.Context(), way{turn, s.peer(bob)}, q) })
		require.NoError(t, err)
		hashes, ends := s.cfg.Sender.(*recorder).take(bob)
		require.Len(t, ends, 1)
		require.True(t, ends[0].Cursor.Complete)
		return len(hashes), ends[0].Cursor
	}
	former := t.TempDir()
	n, cursor := ask(former, 15, mailwire.Cursor{})
	require.Equal(t, 15, n)
	n, _ = ask(former, 5, cursor)
	require.Equal(t, 5, n)
	n, next := ask(t.TempDir(), 20, cursor)
	require.Equal(t, 20, n)
	require.NotEqual(t, cursor.Log, next.Log)
	require.EqualValues(t, 20, next.Seq)
}

// TestScanLimit: a page may be empty and still not the last.
func TestScanLimit(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Scan = 4 }, func(t *testing.T, b *bench) {
		b.fill(10)
		b.store.add(b.envelope(uint32(time.Now().Unix()), topic(9)))
		for _, cursor := range []mailwire.Cursor{{}, mailwire.Since(0)} {
			r := all(mailwire.List)
			r.Topics, r.Cursor = []whisper.Topic{topic(9)}, cursor
			found := 0
			for range 3 {
				got, end := b.answer(r)
				found += len(got)
				r.Cursor = end.Cursor
			}
			require.Equal(t, 1, found)
			require.Equal(t, cursor.Ascending, r.Cursor.Complete)
		}
		// The classic form has no cursor, so the server goes on by itself.
		bloom := topic(9).Bloom()
		got, _ := b.answer(mailwire.Request{Upper: math.MaxUint32, Bloom: &bloom})
		require.Len(t, got, 1)
	})
}

func TestRangeLimit(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Range = 24 * time.Hour }, func(t *testing.T, b *bench) {
		now := time.Now()
		var want []common.Hash
		for _, days := range []int{700, 3, 2, 0} { // in the order of the log
			e := b.envelope(uint32(now.AddDate(0, 0, -days).Unix()), topic(1))
			b.store.add(e)
			want = append([]common.Hash{e.Hash()}, want...)
		}
		r := all(mailwire.List)
		var got []common.Hash
		pages := 0
		for more := true; more; more = !r.Cursor.IsZero() {
			hashes, end := b.answer(r)
			got = append(got, hashes...)
			r.Cursor = end.Cursor
			pages++
		}
		require.Equal(t, 4+700/maxWindows, pages, "most windows without envelopes are skipped")
		require.Equal(t, want, got)

		classic, _ := b.answer(all(mailwire.Classic))
		require.Len(t, classic, 4)
	})
}

// TestForeignCursor: the client was served by a mailserver of status-go before.
func TestForeignCursor(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		want := b.fill(10)
		r := all(mailwire.Fixed)
		sixth := b.store.records[5].Sent
		var err error
		r.Cursor, err = mailwire.ParseCursor(append([]byte{byte(sixth >> 24), byte(sixth >> 16), byte(sixth >> 8), byte(sixth)}, want[5][:]...))
		require.NoError(t, err)
		got, _ := b.answer(r)
		require.Len(t, got, 6)
		require.Equal(t, want[5], got[0])
	})
}

func TestBatch(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		big := make([]byte, 25<<10)
		var want []common.Hash
		for i := range 7 {
			e, err := whisper.Seal(t.Context(), whisper.Draft{Payload: append(big, byte(i)), Key: serverKey})
			require.NoError(t, err)
			b.store.add(e)
			want = append(want, e.Hash())
		}
		r := all(mailwire.List)
		r.Batch, r.Cursor = true, mailwire.Since(0)
		b.ask(bob, r)
		synctest.Wait()
		var packets int
		for _, s := range b.sender.sent[bob] {
			if s.end != nil {
				continue
			}
			require.True(t, s.batch)
			size := 0
			for _, e := range s.envs {
				size += len(e.Raw())
			}
			require.LessOrEqual(t, size, sendBytes)
			packets++
		}
		require.Equal(t, 4, packets)
		got, ends := b.sender.take(bob)
		require.Equal(t, want, got)
		require.Len(t, ends, 1)
	})
}

func TestClassicIsCutOff(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Rows, cfg.Limits.ClassicRows = 4, 10 }, func(t *testing.T, b *bench) {
		want := b.fill(30)
		got, _ := b.answer(all(mailwire.Classic))
		require.Equal(t, want[:10], got)
		require.Equal(t, 1, b.counted("classic", truncated))
	})
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.ClassicBytes = 1000 }, func(t *testing.T, b *bench) {
		b.fill(300)
		got, _ := b.answer(all(mailwire.Classic))
		require.NotEmpty(t, got)
		require.Less(t, len(got), 30)
		require.Equal(t, 1, b.counted("classic", truncated))
	})
}

// TestClockAhead: a device whose clock is ahead asks for what was sent since it
// began. The cursor of the answer passes over what it did not get.
func TestClockAhead(t *testing.T) {
	const slack, began = 300, 7200 // s: what the device adds, and since when it has been
	for _, tt := range []struct {
		name  string
		ahead time.Duration // of the device
		set   bool          // and was set right since
		want  int
	}{
		{"right", 0, false, 2},
		{"an hour", time.Hour, false, 2},
		{"nearly a day", 24*time.Hour - time.Minute, false, 2},
		{"behind", -time.Hour, false, 3},
		{"nearly a day, then set", 24*time.Hour - time.Minute, true, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBench(t, nil, func(t *testing.T, b *bench) {
				now := time.Now()
				for _, age := range []time.Duration{(began + slack + 1000) * time.Second, (began - 1) * time.Second, 0} {
					b.store.add(b.envelope(uint32(now.Add(-age).Unix()), topic(1)))
				}
				r := all(mailwire.List)
				r.Lower = uint32(now.Add(tt.ahead).Unix() - began - slack)
				r.Cursor = mailwire.Since(0)
				got, end := b.answer(r, func(d *whisper.Draft) {
					if d.Now = now; !tt.set {
						d.Now = now.Add(tt.ahead)
					}
				})
				require.Empty(t, end.Refusal)
				require.Len(t, got, tt.want)
				require.EqualValues(t, 3, end.Cursor.Seq)
			})
		})
	}

	// A range of time is taken as it is.
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.fill(3)
		for _, form := range []mailwire.Form{mailwire.Classic, mailwire.Fixed, mailwire.List} {
			r := all(form)
			r.Lower = uint32(time.Now().Add(time.Hour).Unix())
			got, _ := b.answer(r, func(d *whisper.Draft) { d.Now = time.Now().Add(time.Hour) })
			require.Empty(t, got)
		}
	})
}
