package pushserver

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Whatever happens to devices and envelopes, every match has ended with an outcome or waits: the
// books of the metrics are right after each step, and once more after a restart.
func TestMatchesAddUp(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bedTest(t, Limits{}, func(b *bed) {
				t := b.t // of the bubble
				choice := rand.New(rand.NewPCG(seed, 1))
				topics := []whisper.Topic{topicA, topicB}
				var phones []*phone
				join := func(i int) *phone {
					p := b.phone(fmt.Sprintf("token %d %d", i, choice.Uint64()))
					g := p.registration(topics[:1+choice.IntN(2)]...)
					g.Group = []byte("family")
					p.join(g)
					return p
				}
				for i := range 3 {
					phones = append(phones, join(i))
				}
				var known []common.Hash
				some := func() (hashes []common.Hash) {
					for range min(len(known), 1+choice.IntN(20)) {
						hashes = append(hashes, known[max(0, len(known)-1-choice.IntN(80))])
					}
					return hashes
				}
				check := func(did string) {
					t.Helper()
					synctest.Wait()
					require.NoError(t, b.ext.outbox.Sweep(t.Context(), time.Now(), b.ext.registry.Absent))
					require.Zero(t, b.metric("matches_unaccounted"), did)
					require.Equal(t, b.metric("matches_total")-b.metric("outcomes_total"), b.metric("matches_open"), did)
				}
				check("nothing")
				for range 60 {
					i := choice.IntN(len(phones))
					p, did := phones[i], ""
					switch choice.IntN(10) {
					case 0, 1, 2:
						did = "an envelope"
						known = append(known, b.envelope(topics[choice.IntN(2)]).Hash())
					case 3:
						did = "many at once"
						for range 70 {
							known = append(known, b.envelope(topicA).Hash())
						}
					case 4:
						did = "fetched"
						if hashes := some(); len(hashes) > 0 {
							p.ask(&pushwire.Fetch{Hashes: hashes})
						}
					case 5:
						did = "seen"
						if hashes := some(); len(hashes) > 0 {
							p.ask(&pushwire.Seen{Hashes: hashes})
						}
					case 6:
						did = "seen before it was archived"
						letter := b.letter(topicA)
						p.ask(&pushwire.Seen{Hashes: []common.Hash{letter.Hash()}})
						b.archive.take(letter)
					case 7:
						did = "unregistered"
						p.version++
						p.ask(&pushwire.Unregister{Version: p.version})
						check(did)
						phones[i] = join(i)
					case 8:
						did = "its token is dead"
						b.post.mu.Lock()
						b.post.dead[p.token] = true
						b.post.mu.Unlock()
						known = append(known, b.envelope(topicA).Hash())
						time.Sleep(time.Minute)
						check(did)
						phones[i] = join(i)
					case 9:
						did = "hours"
						time.Sleep(time.Duration(choice.Int64N(int64(16 * time.Hour))))
					}
					check(did)
				}
				require.NotZero(t, b.metric("outcomes_total"))
				require.NotZero(t, b.metric("outcomes_total", "outcome", "fetched", "provider", "post"))
				require.Equal(t, b.metric("outcomes_total"), b.metric("outcomes_total", "provider", "post")+b.metric("outcomes_total", "provider", "none"))
				open := b.metric("matches_open")
				b.restart()
				require.NoError(t, b.ext.outbox.Sweep(t.Context(), time.Now(), b.ext.registry.Absent))
				require.Equal(t, open, b.metric("matches_open"), "after a restart")
				b.envelope(topicA)
				require.NoError(t, b.ext.outbox.Sweep(t.Context(), time.Now(), b.ext.registry.Absent))
				require.Zero(t, b.metric("matches_unaccounted"), "after a restart")
				require.Equal(t, open+b.metric("matches_total")-b.metric("outcomes_total"), b.metric("matches_open"))
			})
		})
	}
}
