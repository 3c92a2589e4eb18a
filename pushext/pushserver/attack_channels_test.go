package pushserver

import (
	"encoding/binary"
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

// Strangers try to take all the channels that there are: with addresses that they can
// prove, of five networks, then of four hundred more, and between and after that with
// addresses that they cannot. Whoever is registered renews, is woken and
// fetches as ever, and a new device finds room for a thousand channels at any time: a
// network may hold as many as are left free, and what was not proven gives way.
func TestAttackAllChannels(t *testing.T) {
	const each = 1000 / scale
	limits := Limits{AllChannels: 20_000_000 / scale / scale, Unconfirmed: newcomerRoom}
	require.Equal(t, Limits{}.WithDefaults().AllChannels, scale*scale*limits.AllChannels)
	bedTest(t, limits, func(b *bed) {
		r := b.ext.registry
		old := b.phone("old")
		old.join(old.registration(topicA))
		a := &attacker{Registry: r, verdict: pushext.Verdict{Class: pushext.Delivered}}
		who := uint32(0)
		var prove func(network string) bool // reports whether it was let in
		prove = func(network string) bool {
			who++
			var key [33]byte
			binary.BigEndian.PutUint32(key[:], 3<<24|who)
			_, errands, err := r.Register(key, whisper.Source(network), &pushwire.Register{
				Version: 1, Plain: true, Routes: []pushwire.Route{post(fmt.Sprint("mine ", who))}, Channels: manyChannels(each, int(who)),
			}, time.Now())
			if err == nil {
				r.ChallengeOver(errands[0], a.verdict, time.Now())
				_, err = r.Confirm(key, func(code [pushwire.CodeSize]byte) bool { return code == errands[0].Code }, time.Now())
			}
			if refusedAs(t, err) == pushwire.Busy { // a network may have so many addresses challenged in a day
				time.Sleep(time.Hour)
				return prove(network)
			}
			if err != nil {
				require.Equal(t, pushwire.Limit, refusedAs(t, err), "%v", err)
			}
			return err == nil
		}
		took := func(networks int, name string) (taken int) { // until none of them gets more
			for more := true; more; {
				more = false
				for i := range networks {
					if prove(fmt.Sprint(name, i)) {
						taken++
						more = true
					}
				}
			}
			return taken
		}
		goesOn := func(when string) {
			when = fmt.Sprintf("%s, %d channels are taken", when, r.Counts().Channels)
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

			honest := b.phone(when).from(when)
			g := honest.registration(topicB)
			g.Channels = append(g.Channels, manyChannels(each-1, 1<<16-1)...)
			honest.join(g)
			env = b.envelope(topicB)
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			require.Len(t, honest.payloads(), 1, "%s: a new device is woken", when)
			rep = honest.ask(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
			require.Len(t, rep.Body.(*pushwire.FetchReply).Sent, 1, "%s: a new device fetches", when)
			t.Logf("%s: who is registered renews, is woken and fetches, and so does a new device with %d channels, within %v", when, each, time.Since(start))
			honest.version++
			require.Equal(t, pushwire.OK, honest.ask(&pushwire.Unregister{Version: honest.version}).Code)
		}

		five := took(5, "five")
		require.InDelta(t, limits.AllChannels*5/6, five*each, 5*each, "as many for each as are left")
		goesOn("five networks proved what they could")

		for i := range newcomerRoom {
			require.NoError(t, a.attack(network(i%79), []pushwire.Route{post(fmt.Sprint("garbage ", i))}, manyChannels(each, i)...))
		}
		goesOn("and others hold what they did not prove")

		all := took(400/scale, "many")
		require.Greater(t, (five+all)*each, limits.AllChannels*9/10)
		goesOn(fmt.Sprintf("and %d networks proved what they could", 400/scale))

		for i := range newcomerRoom / 10 {
			if err := a.attack(fmt.Sprint("new ", i), []pushwire.Route{post(fmt.Sprint("more garbage ", i))}, manyChannels(each, i)...); err != nil {
				require.Equal(t, pushwire.Limit, refusedAs(t, err))
			}
		}
		goesOn(fmt.Sprintf("and %d networks hold what they did not prove", newcomerRoom/10))
	})
}
