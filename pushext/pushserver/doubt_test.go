package pushserver

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// Whoever asks is told that an address is in doubt, and since when.
func TestDoubtIsTold(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		other := b.cfg.Providers[1].(*postbox)
		bob := b.phone("bob")
		g := bob.registration(topicA)
		g.Routes = append(g.Routes, pushwire.Route{Provider: "other", Address: []byte("second")}, pushwire.Route{Provider: "other", Address: []byte("third")})
		require.Equal(t, pushwire.OK, bob.ask(g).Code)
		for _, n := range append(b.post.take("bob"), other.take("third")...) { // the second stays unproven
			p, err := pushwire.OpenPayload(n.Body, bob.private)
			require.NoError(t, err)
			require.Equal(t, pushwire.OK, bob.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(p.Code)}).Code)
		}
		doubts := func() (since []uint64) {
			rep, body := bob.status()
			require.Equal(t, pushwire.Active, rep.State)
			for _, route := range body.Routes {
				since = append(since, route.Doubt)
				require.Equal(t, route.Doubt > 0, route.Reason != "")
			}
			return since
		}
		require.Equal(t, []uint64{0, 0, 0}, doubts())
		other.dead = map[string]bool{"third": true}
		b.post.dead["bob"] = true
		env := b.envelope(topicA)
		said := uint64(time.Now().Unix())
		require.Equal(t, []uint64{said, 0, said}, doubts())
		time.Sleep(5 * time.Minute)
		require.Equal(t, []uint64{said, 0, said}, doubts(), "since the first time")
		_, body := bob.status()
		require.Equal(t, "post 404 gone", body.Routes[0].Reason)

		delete(b.post.dead, "bob")
		for doubts()[0] != 0 {
			time.Sleep(time.Second)
		}
		require.Equal(t, []uint64{0, 0, said}, doubts(), "one was accepted")
		bob.shout(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
		require.Equal(t, []uint64{0, 0, 0}, doubts(), "it fetched, so it is there")
	})
}
