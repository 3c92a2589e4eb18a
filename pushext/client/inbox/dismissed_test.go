package inbox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// What is read, deleted, or in a chat that was left on one device disappears from the other
// one although the push that says so is lost: with the next message, or the app's next start.
func TestDismissalThatWasLost(t *testing.T) {
	w := startWorld(t)
	bobKey, aliceKey := newKey(t), newKey(t)
	group := client.NewGroup()
	chat, club := family(), client.PasswordChat("club", whisper.TopicFor("club"), "members only")
	phone := w.open(t, bobKey, group, nil, chat, club)
	tablet := w.open(t, bobKey, group, nil, chat, club)
	alice := w.open(t, aliceKey, nil, nil, chat, club)
	lose := func() {
		select {
		case <-w.fcm.Pushes(tablet.token):
		case <-time.After(15 * time.Second):
			require.FailNow(t, "no push within 15 s")
		}
	}
	say := func(c client.Chat, text string) {
		require.NoError(t, alice.Send(t.Context(), c.ID(), []byte(text)))
		require.NoError(t, alice.Flush(t.Context()))
		phone.wake()
		tablet.wake()
		require.Contains(t, phone.texts(), text)
		require.Contains(t, tablet.texts(), text)
	}
	told := func() {
		require.NoError(t, phone.Flush(t.Context()))
		lose()
	}

	say(chat, "read")
	require.NoError(t, phone.ReadChat(t.Context(), chat.ID()))
	told()
	require.Equal(t, []string{"read"}, tablet.texts())
	say(chat, "deleted")
	require.Equal(t, []string{"deleted"}, tablet.texts(), "the reply that brought it named what was read")
	require.Equal(t, 1, tablet.badge)

	require.NoError(t, phone.DeleteChat(t.Context(), chat.ID()))
	told()
	require.NoError(t, tablet.History(t.Context()))
	require.Empty(t, tablet.texts(), "at the app's start, though nothing came")
	require.Zero(t, tablet.badge)

	say(club, "left")
	require.NoError(t, phone.SetChats(t.Context(), []client.Chat{chat}))
	told()
	require.NoError(t, tablet.History(t.Context()))
	require.Empty(t, tablet.texts())
}
