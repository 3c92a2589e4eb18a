package pushserver

import (
	"regexp"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// Two push services, and two addresses at one, are given nothing by which they
// could find out that they wake the same device.
func TestAttackServicesJoinAddresses(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		other := b.cfg.Providers[1].(*postbox)
		bob := b.phone("bob")
		g := bob.routed(
			pushwire.Route{Provider: "post", Address: []byte("bob")},
			pushwire.Route{Provider: "other", Address: []byte("an endpoint")},
			pushwire.Route{Provider: "other", Address: []byte("another endpoint")},
			pushwire.Route{Provider: "other", Address: []byte("bob")},
		)
		g.Channels = []pushwire.Channel{{Topic: topicA}}
		require.Equal(t, pushwire.OK, bob.ask(g).Code)
		take := func() (all [][]pushext.Notification) {
			return [][]pushext.Notification{b.post.take("bob"), other.take("an endpoint"), other.take("another endpoint"), other.take("bob")}
		}
		seen := make([]map[string]bool, len(g.Routes)) // by route
		note := func(all [][]pushext.Notification) {
			for i, of := range all {
				if seen[i] == nil {
					seen[i] = make(map[string]bool)
				}
				require.NotEmpty(t, of)
				for _, n := range of {
					seen[i][n.CollapseID], seen[i][n.ID] = true, true
				}
			}
		}
		challenges := take()
		note(challenges)
		for _, of := range challenges {
			p, err := pushwire.OpenPayload(of[0].Body, bob.private)
			require.NoError(t, err)
			require.Equal(t, pushwire.OK, bob.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(p.Code)}).Code)
		}
		for range 3 {
			b.envelope(topicA)
			time.Sleep(5 * time.Minute) // up the ladder
		}
		note(take())
		for i, ids := range seen {
			for j, others := range seen {
				for id := range ids {
					require.False(t, i != j && others[id], "routes %d and %d share %q", i, j, id)
				}
			}
		}
	})
}

// What a push service sees of a challenge and of a dismissal has the form of what
// it sees of a wake-up.
func TestFacesLookAlike(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		phones := []*phone{b.phone("bob"), b.phone("bob's other")}
		for _, p := range phones {
			g := p.registration(topicA)
			g.Group = []byte("bob's")
			require.Equal(t, pushwire.OK, p.ask(g).Code)
		}
		challenges := append(b.post.take("bob"), b.post.take("bob's other")...)
		for i, p := range phones {
			payload, err := pushwire.OpenPayload(challenges[i].Body, p.private)
			require.NoError(t, err)
			require.Equal(t, pushwire.Active, p.ask(&pushwire.Confirm{Code: [pushwire.CodeSize]byte(payload.Code)}).State)
		}
		env := b.envelope(topicA)
		woken := b.post.take("bob")[0]
		phones[1].shout(&pushwire.Seen{Hashes: []common.Hash{env.Hash()}})
		time.Sleep(time.Hour)
		dismissed := b.post.take("bob")[0]
		payload, err := pushwire.OpenPayload(dismissed.Body, phones[0].private)
		require.NoError(t, err)
		require.Equal(t, pushwire.Dismiss, payload.Kind)

		collapse, id := regexp.MustCompile(`^[A-Za-z0-9_-]{24}$`), regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)
		for _, n := range []pushext.Notification{challenges[0], woken, dismissed} {
			require.Regexp(t, collapse, n.CollapseID)
			require.Regexp(t, id, n.ID)
			require.Len(t, n.Body, pushwire.BodySize)
			require.Equal(t, woken.TTL, n.TTL)
		}
		require.Equal(t, woken.CollapseID, challenges[0].CollapseID)
		require.Equal(t, woken.Urgent, challenges[0].Urgent)
		require.Equal(t, challenges[0].Visible, dismissed.Visible, "Apple sees one form of what is not shown")
		require.NotEqual(t, woken.CollapseID, dismissed.CollapseID, "it must not replace a wake-up")
		require.NotEqual(t, woken.ID, challenges[0].ID)
	})
}
