package outbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
)

// chainOf is the value of a chain with these hashes.
func chainOf(t Terms, hashes ...common.Hash) common.Hash {
	value := pushwire.ChainBegin(pushwire.LedgerID(t.Secret))
	for _, h := range hashes {
		value = pushwire.ChainNext(value, h)
	}
	return value
}

func (o *Outbox) head(t *testing.T, q pushwire.LedgerQuery) (Ledger, bool) {
	t.Helper()
	l, _, ok, err := o.Ledger(1, &q)
	require.NoError(t, err)
	return l, ok
}

// A head covers what is on disk, at a moment when the chain held nothing after the
// sequence up to which everything is matched, as it does while a crowd is told.
func TestHeadIsOfWhatIsOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := opened(t)
		require.NoError(t, o.SetCursor(2))
		terms := Terms{Secret: pushwire.NewLedgerSecret(), Log: []byte("log"), Breaks: o.Breaks(), Duty: 3, Since: 2, Begun: time.Now()}
		require.NoError(t, o.BeginLedger(1, terms))
		_, ok := o.head(t, pushwire.LedgerQuery{})
		require.False(t, ok, "it is not on disk")
		time.Sleep(time.Second)
		l, ok := o.head(t, pushwire.LedgerQuery{})
		require.True(t, ok)
		require.EqualValues(t, 2, l.Through)
		require.Zero(t, l.Count)

		a, b, c := memlog.Hash(1), memlog.Hash(2), memlog.Hash(3)
		match := func(h common.Hash, seq, cursor uint64) {
			require.NoError(t, o.Match(t.Context(), []Match{{ID: 1, Hash: h, At: time.Now(), Seq: seq, Quiet: h == b}}, cursor, time.Now()))
		}
		match(a, 3, 3)
		l, _ = o.head(t, pushwire.LedgerQuery{})
		require.Zero(t, l.Count, "it is not on disk")
		time.Sleep(time.Second)
		l, _ = o.head(t, pushwire.LedgerQuery{})
		require.EqualValues(t, 3, l.Through)
		require.Equal(t, []common.Hash{a}, l.Told)
		require.Equal(t, chainOf(terms, a), l.Chain)

		match(c, 9, 0) // of a crowd; what is before it in the log is not matched yet
		time.Sleep(time.Second)
		l, _ = o.head(t, pushwire.LedgerQuery{})
		require.EqualValues(t, 1, l.Count)
		require.EqualValues(t, 3, l.Through)
		match(b, 5, 9)
		time.Sleep(time.Second)
		l, _ = o.head(t, pushwire.LedgerQuery{Secret: terms.Secret[:], Count: 1})
		require.EqualValues(t, 9, l.Through)
		require.Equal(t, []common.Hash{c, b}, l.Told, "also what nobody is woken for")
		require.Equal(t, chainOf(terms, a, c, b), l.Chain)

		// What somebody asks to ring for is none of the log's matches.
		require.NoError(t, o.Match(t.Context(), []Match{{ID: 1, Hash: memlog.Hash(4), At: time.Now()}}, 0, time.Now()))
		time.Sleep(time.Second)
		l, _ = o.head(t, pushwire.LedgerQuery{})
		require.EqualValues(t, 3, l.Count)
	})
}

// Whatever leaves a match out ends the ledger.
func TestLedgerEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Outbox){
		"left out of a crowd": func(t *testing.T, o *Outbox) {
			require.NoError(t, o.Match(t.Context(), []Match{{ID: 1, Hash: memlog.Hash(9), At: time.Now(), Seq: 9, Crowd: true, Left: 1}}, 0, time.Now()))
		},
		"beyond the fan-out": func(t *testing.T, o *Outbox) { require.NoError(t, o.LeftOut([]registration.ID{1, 2}, 1)) },
		"a gap in the log":   func(_ *testing.T, o *Outbox) { o.Skipped() },
		"another log":        func(t *testing.T, o *Outbox) { require.NoError(t, o.SetCursor(1)) },
		"another one begun":  func(t *testing.T, o *Outbox) { require.NoError(t, o.BeginLedger(1, Terms{Breaks: o.Breaks()})) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := opened(t)
				require.NoError(t, o.BeginLedger(1, Terms{Secret: [16]byte{1}, Breaks: o.Breaks()}))
				time.Sleep(time.Second)
				_, ok := o.head(t, pushwire.LedgerQuery{})
				require.True(t, ok)
				end(t, o)
				_, ok = o.head(t, pushwire.LedgerQuery{})
				require.False(t, ok)
			})
		})
	}
}
