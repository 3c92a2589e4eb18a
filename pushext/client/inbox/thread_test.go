package inbox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/whisper"
)

// A message to a person with a phone and a tablet, from the network to the eye: both
// show it, the phone's owner reads it, and it is gone on the tablet. Nobody is woken for
// what the owner answers.
func TestReadOnThePhoneGoneOnTheTablet(t *testing.T) {
	w := startWorld(t)
	bobKey, aliceKey := newKey(t), newKey(t)
	group := client.NewGroup()
	chat := family()
	phone := w.open(t, bobKey, group, nil, chat)
	tablet := w.open(t, bobKey, group, nil, chat)
	both := [...]*handset{phone, tablet}
	alice := w.open(t, aliceKey, nil, nil, chat)

	require.NoError(t, alice.Send(t.Context(), chat.ID(), []byte("supper is ready")))
	require.NoError(t, alice.Flush(t.Context()))
	require.Empty(t, alice.Outgoing())

	phone.wake()
	tablet.wake()
	for _, p := range both {
		require.Equal(t, []string{"supper is ready"}, p.texts())
		require.Equal(t, 1, p.badge)
		for id, n := range p.now {
			require.Equal(t, "family", n.Title)
			require.Equal(t, inbox.HeadsUp, n.Manner)
			require.False(t, n.Claimed, "alice has signed when she sent it")
			target, err := p.Resolve(n.Link)
			require.NoError(t, err)
			require.Equal(t, id, target.Message.Hash)
		}
	}

	require.NoError(t, phone.ChatOpened(t.Context(), chat.ID()))
	require.Len(t, phone.texts(), 1, "the app is in the background")
	require.NoError(t, phone.Foreground(t.Context()))
	require.Empty(t, phone.texts())
	require.Zero(t, phone.badge)
	require.NoError(t, phone.Flush(t.Context()))
	tablet.wake()
	require.Empty(t, tablet.texts())
	require.Zero(t, tablet.badge)
	require.Len(t, tablet.Messages(chat.ID()), 1, "the message is there, and read")
	require.True(t, tablet.Messages(chat.ID())[0].Read)

	require.NoError(t, phone.Send(t.Context(), chat.ID(), []byte("coming")))
	require.NoError(t, phone.Flush(t.Context()))
	alice.wake()
	require.Equal(t, []string{"coming"}, alice.texts())
	tablet.asleep(time.Second)
	require.NoError(t, tablet.History(t.Context()))
	require.Empty(t, tablet.texts())
	require.Len(t, tablet.Messages(chat.ID()), 2)
	require.True(t, tablet.Messages(chat.ID())[1].Own)
	alice.asleep(0)
}

// What was read, muted and blocked travels by a chat of the person's devices, and
// reaches a device that no dismissal reached.
func TestSyncReachesWhoWasOff(t *testing.T) {
	w := startWorld(t)
	bobKey, aliceKey := newKey(t), newKey(t)
	own := syncChat("bob")
	chat, work := family(), client.PasswordChat("work", whisper.TopicFor("work"), "desk")
	phone := w.open(t, bobKey, nil, &own, chat, work)
	tablet := w.open(t, bobKey, nil, &own, chat, work) // the server does not know that it is also Bob's
	alice := w.open(t, aliceKey, nil, nil, chat, work)
	say := func(c client.Chat, text string) {
		require.NoError(t, alice.Send(t.Context(), c.ID(), []byte(text)))
		require.NoError(t, alice.Flush(t.Context()))
	}
	say(chat, "one")
	phone.wake()
	tablet.wake()
	require.Equal(t, []string{"one"}, tablet.texts())
	require.NoError(t, phone.ReadChat(t.Context(), chat.ID()))
	require.NoError(t, phone.Mute(t.Context(), work.ID(), time.Now().Add(time.Hour)))
	require.NoError(t, phone.Flush(t.Context()))

	tablet.wake() // the mute
	require.Empty(t, tablet.texts(), "what was read came with it")
	require.False(t, tablet.Chats()[1].MutedUntil.IsZero())
	require.NoError(t, tablet.Flush(t.Context()))

	say(work, "overtime")
	phone.asleep(time.Second)
	tablet.asleep(0)
	require.NoError(t, tablet.History(t.Context()))
	require.Empty(t, tablet.texts())
	require.Equal(t, 1, tablet.Chats()[1].Unread)
	require.Zero(t, tablet.badge)

	require.NoError(t, tablet.Block(t.Context(), &aliceKey.PublicKey))
	require.NoError(t, tablet.Mute(t.Context(), work.ID(), time.Time{}))
	require.NoError(t, tablet.Flush(t.Context()))
	phone.wake()
	require.Empty(t, phone.texts())
	say(chat, "are you there?")
	phone.wake()
	require.Empty(t, phone.texts())
	require.Zero(t, phone.Unread())
	require.NoError(t, phone.Unblock(t.Context(), &aliceKey.PublicKey))
	require.ElementsMatch(t, []string{"are you there?", "overtime"}, phone.texts())
	require.Equal(t, 2, phone.badge)
}
