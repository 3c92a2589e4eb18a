package pushserver

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/durable/faultstore"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// remine posts an envelope again as anybody can: another time, lifetime and nonce.
func (b *bed) remine(old *whisper.Envelope, t whisper.Topic) *whisper.Envelope {
	env := b.mined(old, t)
	b.archive.take(env)
	synctest.Wait()
	return env
}

// mined is such an envelope before it is posted.
func (b *bed) mined(old *whisper.Envelope, t whisper.Topic) *whisper.Envelope {
	raw, err := rlp.EncodeToBytes([]any{uint32(time.Now().Unix() + 50), uint32(50), t[:], old.Data, rand.Uint64N(1 << 32)})
	require.NoError(b.t, err)
	env, err := whisper.DecodeEnvelope(raw)
	require.NoError(b.t, err)
	return env
}

// An old message that somebody mines again wakes nobody: not a minute later,
// nor after a restart, nor weeks later.
func TestAttackOldEnvelopeMinedAgain(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		old := b.envelope(topicA)
		time.Sleep(time.Second)
		require.Len(t, b.post.take("bob"), 1)
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Fetch{Hashes: []common.Hash{old.Hash()}}).Code)
		for _, pause := range []time.Duration{0, time.Minute, 20 * 24 * time.Hour} {
			time.Sleep(pause)
			require.NotEqual(t, old.Hash(), b.remine(old, topicA).Hash())
			time.Sleep(time.Minute)
			require.Empty(t, b.post.take("bob"))
			b.restart()
			b.remine(old, topicA)
			time.Sleep(time.Minute)
			require.Empty(t, b.post.take("bob"))
		}
		fresh := b.envelope(topicA) // it still is woken for what is new
		time.Sleep(time.Second)
		require.Len(t, b.post.take("bob"), 1)
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Fetch{Hashes: []common.Hash{fresh.Hash()}}).Code)
	})
}

// Whoever is quicker than Alice's own envelope with a copy of it cannot silence
// her message: a copy on its topic wakes for the same content, and one on another topic
// counts for that alone.
func TestAttackCopyBeforeTheMessage(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob, mallory := b.phone("bob"), b.phone("mallory")
		bob.join(bob.registration(topicA))
		mallory.join(mallory.registration(topicB))
		alice := b.letter(topicA)
		b.remine(alice, topicB)
		time.Sleep(time.Second)
		require.Len(t, b.post.take("mallory"), 1)
		b.archive.take(alice)
		time.Sleep(time.Second)
		require.Len(t, b.post.take("bob"), 1)

		alice = b.letter(topicA)
		b.remine(alice, topicA)
		b.archive.take(alice)
		time.Sleep(time.Second)
		require.Len(t, b.post.take("bob"), 1, "once, for one of the two")
	})
}

// A power cut at any moment makes no message the twin of itself.
func TestTwinsSurvivePowerCuts(t *testing.T) {
	for point := range 12 {
		bedTest(t, Limits{}, func(b *bed) {
			bob := b.phone("bob")
			bob.join(bob.registration(topicA))
			var cut atomic.Pointer[faultstore.Store]
			cut.Store(b.disk)
			base := b.disk.Disk().Syncs()
			b.disk.Disk().OnSync(func(n int) {
				if n-base == point+1 {
					cut.Store(b.disk.Disk().Crash(rand.New(rand.NewPCG(1, uint64(point)))).Store("db"))
				}
			})
			var sent []common.Hash
			for range 6 {
				sent = append(sent, b.envelope(topicA).Hash())
				time.Sleep(7 * time.Millisecond)
			}
			b.disk.Disk().OnSync(nil)
			b.stop()
			b.disk = cut.Load()
			b.cfg.storage = b.disk
			b.cfg.Registerer = prometheus.NewRegistry()
			b.start()
			time.Sleep(time.Minute)
			told := make(map[common.Hash]bool)
			for _, p := range bob.payloads() {
				for _, h := range p.Hashes {
					told[h] = true
				}
			}
			for _, h := range sent {
				require.True(t, told[h], "woken for every envelope")
			}
		})
	}
}
