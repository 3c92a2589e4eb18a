package requests

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Under load a new registration costs more work, one that exists does not, and
// when the load is gone neither does.
func TestWorkRisesWithLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, registration.Limits{PoW: 0.001, Queue: 64, SourceQueue: 64})
		// Each has workers that are slow: what waits stays.
		var p *Server
		load := func(n int, source func(i int) whisper.Source) {
			p = h.open()
			for i := range n {
				p.desk.Offer(enode.ID{1, byte(i)}, source(i), incoming{from: Peer{nowhere{}, enode.ID{1, byte(i)}}}, time.Now())
			}
		}
		many := func(i int) whisper.Source { return whisper.Source(fmt.Sprint(i)) }
		load(0, many)
		version := uint64(0)
		ask := func(who string) answer {
			var env *whisper.Envelope
			for env == nil || env.PoW(time.Now()) >= 0.2 { // as one is, now and then, by luck
				var err error
				env, err = whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("x"), To: &h.options.PushKeys.Current.PublicKey, PoW: 0.001})
				require.NoError(t, err)
			}
			version++
			return p.register(incoming{env: env}, [33]byte([]byte(fmt.Sprintf("%-33s", who))), &pushwire.Register{
				Version: version, Plain: true, Routes: []pushwire.Route{{Provider: "post", Address: []byte(who)}},
			}, time.Now())
		}
		require.Equal(t, 0.001, p.work(""))
		require.Equal(t, pushwire.OK, ask("known").code)
		load(128, func(int) whisper.Source { return "one" })
		require.InDelta(t, 0.001, p.work(""), 1e-4, "the load of one source is no other's")
		require.InDelta(t, 0.256, p.work("one"), 1e-9)
		load(64, many)
		require.InDelta(t, 0.256, p.work(""), 1e-9)
		a := ask("fresh")
		require.Equal(t, pushwire.Work, a.code)
		require.InDelta(t, 0.256, a.body.(*pushwire.RegisterReply).Limits.PoW, 1e-9, "it is told how much")
		require.Equal(t, pushwire.OK, ask("known").code, "who is registered goes on")
		load(0, many)
		require.Equal(t, pushwire.OK, ask("fresh").code, "the load is gone")
	})
}
