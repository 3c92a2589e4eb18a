//go:build unix

package node

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
)

// ledgerKept is what a device keeps of the server's ledger.
type ledgerKept struct {
	Secret string          `json:"secret"`
	Base   json.RawMessage `json:"base"` // none: the device has all hashes from the ledger's beginning
	Heads  []struct {
		Count uint64 `json:"count"`
	} `json:"heads"`
	Hashes []common.Hash `json:"hashes"`
}

func (p *phone) ledger(t *testing.T) (l ledgerKept) {
	t.Helper()
	text, err := p.state.Load(t.Context())
	require.NoError(t, err)
	var kept struct {
		Accounts map[string]struct {
			Ledger *ledgerKept `json:"ledger"`
		} `json:"accounts"`
	}
	require.NoError(t, json.Unmarshal(text, &kept))
	for _, account := range kept.Accounts {
		if account.Ledger != nil {
			l = *account.Ledger
		}
	}
	return l
}

// A registration's ledger goes on from node to node: whichever owns its shard signs heads
// that follow each other, and none that convicts.
func TestClusterLedgersGoOn(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	var phones []*phone
	secrets := make(map[*phone]string)
	for i := range 4 {
		p := phoneAt(t, nodes[i%2])
		phones = append(phones, p)
		require.Eventually(t, func() bool {
			_, err := p.Status(t.Context())
			require.NoError(t, err)
			return len(p.ledger(t).Heads) > 0
		}, 10*time.Second, 20*time.Millisecond)
		secrets[p] = p.ledger(t).Secret
	}
	told := uint64(0)
	round := func(text string, from, at *world) {
		t.Helper()
		from.post(t, text)
		told++
		for _, p := range phones {
			push := p.ring(t)
			p.ask(t, at)
			require.Equal(t, []string{text}, shows(t, p.Device, push.Body))
			require.Eventually(t, func() bool {
				_, err := p.Status(t.Context())
				require.NoError(t, err)
				heads := p.ledger(t).Heads
				return heads[len(heads)-1].Count == told
			}, 10*time.Second, 20*time.Millisecond)
			_, err := p.History(t.Context())
			require.NoError(t, err)
			l := p.ledger(t)
			require.Equal(t, secrets[p], l.Secret, "it is the same ledger")
			require.Nil(t, p.Evidence())
		}
	}
	round("one", nodes[0], nodes[1])
	nodes[1].halt()
	requireShared(t, nodes[0])
	round("two", nodes[0], nodes[0])
	nodes[1].restart(t, true)
	requireShared(t, nodes...)
	round("three", nodes[0], nodes[1])
}
