//go:build unix

package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/cluster"
	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
	"whisperpush/testutil/genuinepostgres"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	// What goleveldb, which devp2p and whisper bring along, leaves of a database in memory.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// archive is a log whose envelopes were all dropped.
type archive struct{ *memlog.Log }

func (archive) ByHash(_ context.Context, hashes []common.Hash) ([]*whisper.Envelope, []common.Hash, error) {
	return nil, hashes, nil
}

// Servers share the shards among those that are there, and one that has stopped leaves nothing
// running.
func TestServersComeAndGo(t *testing.T) {
	pg := genuinepostgres.For(t)
	address, err := pg.Database(t.Context())
	require.NoError(t, err)
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	log := archive{memlog.New()}
	before := goleak.IgnoreCurrent()
	start := func() (s *cluster.Server, stop func()) {
		t.Helper()
		db, err := postgres.Open(t.Context(), address, postgres.Options{})
		require.NoError(t, err)
		sender, err := whisper.NewNode(whisper.Config{})
		require.NoError(t, err)
		require.NoError(t, sender.Start())
		s, err = cluster.New(cluster.Config{DB: db, Listen: "127.0.0.1:0", Push: pushserver.Config{
			PushKey: key, DiskKey: make([]byte, pushserver.DiskKeySize), Log: log, Envelopes: log, Sender: sender,
		}})
		require.NoError(t, err)
		require.NoError(t, s.Start(t.Context()))
		return s, func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			require.NoError(t, s.Stop(ctx))
			sender.Stop()
			db.Close()
		}
	}
	shared := func(servers ...*cluster.Server) {
		t.Helper()
		require.Eventually(t, func() bool {
			all := map[int]bool{}
			for _, s := range servers {
				own := s.Shards()
				if s.Probe() != nil || len(own) < postgres.ShardCount/len(servers) || len(own) > postgres.ShardCount/len(servers)+1 {
					return false
				}
				for _, shard := range own {
					all[shard] = true
				}
			}
			return len(all) == postgres.ShardCount
		}, 15*time.Second, 20*time.Millisecond)
	}
	a, stopA := start()
	b, stopB := start()
	c, stopC := start()
	shared(a, b, c)
	stopB()
	shared(a, c)
	b, stopB = start()
	stopA()
	shared(b, c)
	stopB()
	stopC()
	goleak.VerifyNone(t, before)
}
