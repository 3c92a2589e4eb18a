package pushserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// An operator sees what registrations there are, why a device is not woken, and ends one: its device is told, and may come
// again. Nothing that they see names a device.
func TestOperator(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		list := func() []Summary {
			all, next, err := b.ext.Registrations(0, 10, time.Now())
			require.NoError(t, err)
			require.Zero(t, next)
			return all
		}
		require.Empty(t, list())
		bob, eve := b.phone("bob-token"), b.phone("eve-token")
		g := bob.registration(topicA)
		g.Channels = append(g.Channels, pushwire.Channel{Topic: topicB, Mode: pushwire.Mentions}, pushwire.Channel{Topic: whisper.Topic{1}, Mode: pushwire.Muted})
		bob.join(g)
		require.Equal(t, pushwire.OK, eve.ask(eve.registration(topicA)).Code)
		eve.post.take("eve-token")

		all := list()
		require.Len(t, all, 2)
		require.Equal(t, StateActive, all[0].State)
		require.Equal(t, []int{1, 1, 1}, []int{all[0].Every, all[0].Mentions, all[0].Muted})
		require.Equal(t, "post", all[0].Routes[0].Provider)
		require.Equal(t, StateWaiting, all[1].State)
		require.NotContains(t, fmt.Sprintf("%+v", all), "token")
		one, next, err := b.ext.Registrations(0, 1, time.Now())
		require.NoError(t, err)
		require.Equal(t, all[:1], one)
		rest, next, err := b.ext.Registrations(next, 1, time.Now())
		require.NoError(t, err)
		require.Zero(t, next)
		require.Equal(t, all[1:], rest)

		why := func(i int) []string {
			s, ok, err := b.ext.Registration(all[i].ID, time.Now())
			require.NoError(t, err)
			require.True(t, ok)
			return s.Hindered
		}
		require.Contains(t, why(1), "it has not proved its address by the code that was pushed to it")
		require.Equal(t, []string{"nothing that it has not fetched was archived for it"}, why(0))
		require.NoError(t, b.ext.HoldProvider("post"))
		b.envelope(topicA)
		require.Contains(t, why(0), `the provider "post" was paused by the operator`)
		s, _, err := b.ext.Registration(all[0].ID, time.Now())
		require.NoError(t, err)
		require.Equal(t, []int{1, 1}, []int{s.Unread, s.Pending})
		require.NoError(t, b.ext.ReleaseProvider("post"))
		time.Sleep(time.Second)
		require.Len(t, bob.payloads(), 1)
		require.Equal(t, []string{"a wake-up for all that it has not fetched was accepted by its push service; the device has not fetched since"}, why(0))
		require.NoError(t, b.ext.DrainProvider(t.Context(), "post"))
		require.NoError(t, b.ext.ReleaseProvider("post"))

		uses := map[string]Use{}
		for _, use := range b.ext.Usage() {
			uses[use.What] = use
			require.Positive(t, use.Most, use.What)
		}
		require.Equal(t, 2, uses["registrations"].Used)
		require.Equal(t, 4, uses["channels"].Used)

		_, ok, err := b.ext.Registration(77, time.Now())
		require.NoError(t, err)
		require.False(t, ok)
		for i, want := range []bool{true, false} { // again is no change
			ended, err := b.ext.Revoke(all[0].ID, time.Now())
			require.NoError(t, err)
			require.Equal(t, want, ended, i)
		}
		ended, err := b.ext.Revoke(all[1].ID, time.Now())
		require.NoError(t, err)
		require.True(t, ended)
		require.Len(t, list(), 1, "who never proved an address leaves nothing")
		require.Equal(t, []string{"it was ended by the device or the operator"}, why(0))
		b.envelope(topicA)
		require.Empty(t, bob.payloads())
		rep, _ := bob.status()
		require.Equal(t, pushwire.Terminated, rep.State)
		require.Equal(t, "ended by the server's operator", rep.Reason)
		b.restart()
		require.Len(t, list(), 1)
		bob.join(bob.registration(topicA))
		b.envelope(topicA)
		require.Len(t, bob.payloads(), 1, "it came again")
	}, func(c *Config) { c.Providers = []pushext.Provider{c.Providers[0]} })
}
