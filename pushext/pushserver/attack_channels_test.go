package pushserver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Strangers take all the channels that there are: first half of them by addresses that
// they can prove and half by such as they cannot, and then all by proof. Whoever is
// registered renews, is woken and fetches as ever. A new device finds room as long as
// a channel is held without proof; after that it is told so, as docs/limits.md says.
func TestAttackAllChannels(t *testing.T) {
	const each = 1000
	limits := Limits{AllChannels: 20_000_000 / scale, Unconfirmed: newcomerRoom}
	require.Equal(t, Limits{}.WithDefaults().AllChannels, scale*limits.AllChannels)
	half := limits.AllChannels / each / 2
	bedTest(t, limits, func(b *bed) {
		r := b.ext.registry
		old := b.phone("old")
		old.join(old.registration(topicA))
		a := &attacker{Registry: r, verdict: pushext.Verdict{Class: pushext.Delivered}}
		prove := func(n int, networks string) (taken int) {
			for i := range n {
				a.keys++
				key := [33]byte{3, byte(a.keys >> 16), byte(a.keys >> 8), byte(a.keys)}
				_, errands, err := r.Register(key, whisper.Source(fmt.Sprint(networks, i/250)), &pushwire.Register{
					Version: 1, Plain: true, Routes: []pushwire.Route{post(fmt.Sprint(networks, i))}, Channels: manyChannels(each, int(a.keys)),
				}, time.Now())
				if err != nil {
					require.Equal(t, pushwire.Limit, refusedAs(t, err))
					continue
				}
				r.ChallengeOver(errands[0], a.verdict, time.Now())
				_, err = r.Confirm(key, func(code [pushwire.CodeSize]byte) bool { return code == errands[0].Code }, time.Now())
				require.NoError(t, err)
				taken++
			}
			return taken
		}
		goesOn := func(when string) {
			start := time.Now()
			rep := old.ask(old.registration(topicA))
			require.Equal(t, pushwire.OK, rep.Code, "%s: a renewal: %s", when, rep.Text)
			require.Equal(t, pushwire.Active, rep.State)
			env := b.envelope(topicA)
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			require.Len(t, old.payloads(), 1, "%s: is woken", when)
			rep = old.ask(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
			require.Len(t, rep.Body.(*pushwire.FetchReply).Sent, 1, "%s: fetches", when)
			t.Logf("%s: who is registered renews, is woken and fetches within %v", when, time.Since(start))
		}

		require.Equal(t, half, prove(half, "a"))
		for i := range half {
			require.NoError(t, a.attack(network(i%79), []pushwire.Route{post(fmt.Sprint("garbage ", i))}, manyChannels(each, 1<<15+i)...))
		}
		require.Equal(t, limits.AllChannels-each+1, r.Counts().Channels, "there is no room for another")
		goesOn(fmt.Sprintf("%d channels are taken, half without proof", r.Counts().Channels))
		honest := b.phone("honest")
		g := honest.registration(topicA)
		g.Channels = append(g.Channels, manyChannels(each-1, 1<<16-1)...)
		honest.join(g)
		t.Logf("a new device with %d channels finds room", each)

		require.Equal(t, half-2, prove(half, "b"), "all that is left")
		require.Equal(t, limits.AllChannels-each+1, r.Counts().Channels)
		goesOn(fmt.Sprintf("%d channels are taken, all by proof", r.Counts().Channels))
		late := b.phone("late")
		g = late.registration()
		g.Channels = manyChannels(each, 1<<16-2)
		rep := late.refused(g, pushwire.Limit)
		t.Logf("a new device with %d channels is told: %s", each, told(rep))
		require.Equal(t, pushwire.OK, late.ask(late.registration(topicA)).Code, "there is room for a few")
	})
}
