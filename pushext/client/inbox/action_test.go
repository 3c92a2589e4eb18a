package inbox_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/whisper"
)

// Quick actions are carried out while the app does not run, twice by the platform and
// once by the inbox, and what they send is out when an inbox runs again.
func TestQuickActionsWithoutTheApp(t *testing.T) {
	w := startWorld(t)
	bobKey := newKey(t)
	group := client.NewGroup()
	chat := family()
	phone, tablet := w.open(t, bobKey, group, nil, chat), w.open(t, bobKey, group, nil, chat)
	alice := w.open(t, newKey(t), nil, nil, chat)
	require.NoError(t, alice.Send(t.Context(), chat.ID(), []byte("are you coming?")))
	require.NoError(t, alice.Flush(t.Context()))
	phone.wake()
	tablet.wake()
	message := phone.Messages(chat.ID())[0].Hash
	require.NoError(t, phone.Close())
	require.ErrorIs(t, phone.Read(t.Context(), message), inbox.ErrClosed)

	reply := inbox.Action{ID: "platform 17", Kind: inbox.Reply, Message: message, Text: "yes"}
	for range 3 {
		require.NoError(t, inbox.Queue(t.Context(), phone.cfg.File, reply))
	}
	mute := inbox.Action{ID: "platform 18", Kind: inbox.MuteChat, Message: message, Until: time.Now().Add(time.Hour)}
	require.NoError(t, inbox.Queue(t.Context(), phone.cfg.File, mute))
	for _, bad := range []inbox.Action{
		{Kind: inbox.MarkRead, Message: message},
		{ID: strings.Repeat("x", inbox.MaxActionID+1), Kind: inbox.MarkRead, Message: message},
		{ID: "1", Kind: 99, Message: message},
		{ID: "1", Kind: inbox.MarkRead, Message: common.Hash{1}},
		{ID: "1", Kind: inbox.Reply, Message: message},
		{ID: "1", Kind: inbox.Reply, Message: message, Text: strings.Repeat("x", inbox.MaxOutgoingPayload+1)},
	} {
		require.ErrorIs(t, inbox.Queue(t.Context(), phone.cfg.File, bad), inbox.ErrAction)
	}

	again, err := inbox.Open(t.Context(), phone.cfg)
	require.NoError(t, err)
	require.Empty(t, phone.texts(), "the notification went when the app started")
	require.Len(t, again.Outgoing(), 1)
	require.False(t, again.Chats()[0].MutedUntil.IsZero())
	require.NoError(t, again.Flush(t.Context()))
	require.Empty(t, again.Outgoing())
	require.Empty(t, again.Failures())
	alice.wake()
	require.Equal(t, []string{"yes"}, alice.texts())
	tablet.wake()
	require.Empty(t, tablet.texts(), "read there too")
	require.NoError(t, again.Flush(t.Context()))
	alice.asleep(time.Second)
}

// What no chat opens shows nothing and is counted, and is shown when its key comes,
// after a restart too. A link to it leads nowhere until then.
func TestKeyComesLater(t *testing.T) {
	w := startWorld(t)
	club := client.PasswordChat("club", whisper.TopicFor("club"), "secret")
	decoy := client.PasswordChat("old club", club.Topic, "former secret")
	bob, alice := w.open(t, newKey(t), nil, nil, decoy), w.open(t, newKey(t), nil, nil, club)
	require.NoError(t, alice.Send(t.Context(), club.ID(), []byte("hello members")))
	require.NoError(t, alice.Flush(t.Context()))
	hash := alice.Messages(club.ID())[0].Hash
	link := inbox.MessageLink(club.ID(), hash)

	bob.wake()
	require.Empty(t, bob.texts())
	require.Equal(t, inbox.Counts{Unopened: 1, All: 1}, bob.Counts())
	_, err := bob.Resolve(link)
	require.ErrorIs(t, err, inbox.ErrLinkForeign)
	_, err = bob.Follow(t.Context(), "whisper:"+hash.Hex())
	require.ErrorIs(t, err, inbox.ErrLinkForeign, "the server has it, and no chat opens it")
	_, err = bob.Follow(t.Context(), "whisper:"+common.Hash{7}.Hex())
	require.ErrorIs(t, err, inbox.ErrLinkUnknown)

	require.NoError(t, bob.Close())
	again, err := inbox.Open(t.Context(), bob.cfg)
	require.NoError(t, err)
	require.NoError(t, again.SetChats(t.Context(), []client.Chat{decoy, club}))
	require.Equal(t, []string{"hello members"}, bob.texts())
	require.Equal(t, 1, bob.badge)
	target, err := again.Resolve("whisper:" + hash.Hex())
	require.NoError(t, err)
	require.Equal(t, club.ID(), target.Chat)
	shown, ok := again.Notification(target.Message.Hash)
	require.True(t, ok)
	require.Equal(t, link, shown.Link)
	target, err = again.Resolve(inbox.ChatLink(decoy.ID()))
	require.NoError(t, err)
	require.False(t, target.HasMessage)

	// Access is lost: what was shown goes, and the link has expired.
	require.NoError(t, again.Flush(t.Context()))
	require.NoError(t, again.SetChats(t.Context(), []client.Chat{decoy}))
	require.Empty(t, bob.texts())
	require.Zero(t, bob.badge)
	_, err = again.Resolve("whisper:" + hash.Hex())
	require.ErrorIs(t, err, inbox.ErrLinkExpired)
	_, err = again.Resolve(link)
	require.ErrorIs(t, err, inbox.ErrLinkForeign)
}

// A message is found by its hash alone on a device that was not told of it.
func TestFollowAsksTheServer(t *testing.T) {
	w := startWorld(t)
	chat := family()
	alice := w.open(t, newKey(t), nil, nil, chat)
	require.NoError(t, alice.Send(t.Context(), chat.ID(), []byte("long ago")))
	require.NoError(t, alice.Flush(t.Context()))
	hash := alice.Messages(chat.ID())[0].Hash
	bob := w.open(t, newKey(t), nil, nil, chat)
	_, err := bob.Resolve("whisper:" + hash.Hex())
	require.ErrorIs(t, err, inbox.ErrLinkUnknown)
	target, err := bob.Follow(t.Context(), "whisper:"+hash.Hex())
	require.NoError(t, err)
	require.Equal(t, "long ago", target.Message.Text)
	require.Equal(t, chat.ID(), target.Chat)
}

// Run tells what was read without being asked to.
func TestRun(t *testing.T) {
	w := startWorld(t)
	bobKey := newKey(t)
	group := client.NewGroup()
	chat := family()
	phone, tablet := w.open(t, bobKey, group, nil, chat), w.open(t, bobKey, group, nil, chat)
	alice := w.open(t, newKey(t), nil, nil, chat)
	for _, text := range []string{"one", "two", "three"} {
		require.NoError(t, alice.Send(t.Context(), chat.ID(), []byte(text)))
	}
	require.NoError(t, alice.Flush(t.Context()))
	for len(tablet.Messages(chat.ID())) < 3 {
		tablet.wake()
	}
	require.NoError(t, phone.History(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- phone.Run(ctx) }()
	for _, m := range phone.Messages(chat.ID()) {
		require.NoError(t, phone.Read(t.Context(), m.Hash))
	}
	for len(tablet.texts()) > 0 {
		tablet.wake()
	}
	require.Zero(t, tablet.badge)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// An inbox says what is missing, and where the file is.
func TestOpenRefuses(t *testing.T) {
	_, err := inbox.Open(t.Context(), inbox.Config{})
	require.ErrorContains(t, err, "Config.Device")
	w := startWorld(t)
	device, err := client.Open(t.Context(), client.Config{Server: w.enode, PushKey: w.pushKey, Complete: true})
	require.NoError(t, err)
	defer device.Close()
	_, err = inbox.Open(t.Context(), inbox.Config{Device: device, App: &tray{}})
	require.ErrorContains(t, err, "Config.File")
	name := filepath.Join(t.TempDir(), "no", "such", "directory")
	_, err = inbox.Open(t.Context(), inbox.Config{Device: device, App: &tray{}, File: name})
	require.ErrorContains(t, err, name)
}
