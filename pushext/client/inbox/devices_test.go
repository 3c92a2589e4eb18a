package inbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// rung is a device at a world's server, without an inbox.
type rung struct {
	*client.Device
	t     *testing.T
	world *world
	token string
	texts []string
}

// device opens a device with a store, and does not register it.
func (w *world) device(t *testing.T, store client.Store, token, installation string) *rung {
	t.Helper()
	d, err := client.Open(t.Context(), client.Config{Server: w.enode, PushKey: w.pushKey, Store: store, Chats: []client.Chat{family()}, Installation: installation})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return &rung{Device: d, t: t, world: w, token: token}
}

// register registers with the device's token, and answers the challenge if one comes.
func (r *rung) register(group []byte) {
	r.t.Helper()
	require.NoError(r.t, r.Register(r.t.Context(), client.Registration{
		Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(r.token)}}, Group: group,
	}))
	status, err := r.Status(r.t.Context())
	require.NoError(r.t, err)
	if status.Routes[0].State == pushwire.Waiting {
		r.wake()
	}
	require.True(r.t, r.Active())
}

// wake waits for a push, and takes what it brings.
func (r *rung) wake() client.Event {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 15*time.Second)
	defer cancel()
	select {
	case push := <-r.world.fcm.Pushes(r.token):
		event, err := r.Receive(ctx, push.Body)
		require.NoError(r.t, err)
		for _, p := range event.Previews {
			r.texts = append(r.texts, p.Text)
		}
		require.NoError(r.t, r.Shown(ctx, event.Hashes()...))
		return event
	case <-ctx.Done():
		require.FailNow(r.t, "no push within 15 s")
	}
	return client.Event{}
}

// write puts a message of somebody else on the network.
func (w *world) says(t *testing.T, text string) {
	t.Helper()
	d, err := client.Open(t.Context(), client.Config{Server: w.enode, PushKey: w.pushKey, Chats: []client.Chat{family()}})
	require.NoError(t, err)
	defer d.Close()
	sealed, err := whisper.Seal(t.Context(), client.Compose(family(), []byte(text), nil, time.Now()))
	require.NoError(t, err)
	_, err = d.Post(t.Context(), sealed, true)
	require.NoError(t, err)
}

// copyOf is a store with what another has, as of a backup.
func copyOf(t *testing.T, store client.Store) client.Store {
	t.Helper()
	text, err := store.Load(t.Context())
	require.NoError(t, err)
	copied := new(client.MemoryStore)
	require.NoError(t, copied.Save(t.Context(), text))
	return copied
}

// silent requires that no push waits for a token.
func (w *world) silent(t *testing.T, token string) {
	t.Helper()
	require.Empty(t, w.fcm.Pushes(token))
}

// The platform hands out a new token: the next message goes there, and the old token is
// told of nothing more.
func TestTokenRotation(t *testing.T) {
	w := startWorld(t)
	d := w.device(t, nil, w.fcm.NewToken(), "")
	d.register(nil)
	w.says(t, "by the first token")
	d.wake()
	former := d.token
	d.token = w.fcm.NewToken()
	d.register(nil)
	w.says(t, "by the second")
	d.wake()
	require.Equal(t, []string{"by the first token", "by the second"}, d.texts)
	w.silent(t, former)
	status, err := d.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, status.Routes, 1)
}

// A backup is put back on a second phone, which the platform tells apart: it begins an
// account of its own, shows nothing that the first one has shown, and both are woken.
func TestRestoredOnAnotherPhone(t *testing.T) {
	w := startWorld(t)
	store := new(client.MemoryStore)
	first := w.device(t, store, w.fcm.NewToken(), "phone one")
	first.register(nil)
	w.says(t, "before the backup")
	first.wake()

	second := w.device(t, copyOf(t, store), w.fcm.NewToken(), "phone two")
	second.register(nil)
	w.says(t, "after it")
	first.wake()
	second.wake()
	require.Equal(t, []string{"before the backup", "after it"}, first.texts)
	require.Equal(t, []string{"after it"}, second.texts)

	// On the same phone a backup goes on with the account.
	again := w.device(t, copyOf(t, store), first.token, "phone one")
	again.register(nil)
	require.Equal(t, accountOf(t, first), accountOf(t, again))
}

// The same where the platform tells the app nothing: the second phone takes the first one's
// place until that registers again, at its next start; then it finds that another has its
// keys, begins anew, and has missed nothing.
func TestTwoDevicesWithTheSameKeys(t *testing.T) {
	w := startWorld(t)
	store := new(client.MemoryStore)
	first := w.device(t, store, w.fcm.NewToken(), "")
	first.register(nil)
	second := w.device(t, copyOf(t, store), w.fcm.NewToken(), "")
	second.register(nil)
	require.Equal(t, accountOf(t, first), accountOf(t, second), "neither knows of the other yet")
	w.says(t, "in between")
	second.wake()

	restarted := w.device(t, store, first.token, "")
	restarted.register(nil)
	require.NotEqual(t, accountOf(t, second), accountOf(t, restarted))
	event, err := restarted.History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.Equal(t, "in between", event.Previews[0].Text)
	require.NoError(t, restarted.Shown(t.Context(), event.Hashes()...))
	w.says(t, "to both")
	restarted.wake()
	second.wake()
	require.Equal(t, []string{"to both"}, restarted.texts)
	require.Equal(t, []string{"in between", "to both"}, second.texts)

	// The second one goes on with the account when it starts again.
	second.register(nil)
	require.Equal(t, accountOf(t, second), accountOf(t, first))
}

// accountOf is the address of a device's account, which is its key.
func accountOf(t *testing.T, r *rung) string {
	t.Helper()
	route, err := r.DirectRoute("direct")
	require.NoError(t, err)
	return string(route.Address)
}

// A phone is lost, and ended from the tablet: nothing is pushed to it any more, it gets
// nothing, and its app cannot begin again with the same account.
func TestLostPhoneIsRevoked(t *testing.T) {
	w := startWorld(t)
	group := client.NewGroup()
	phone, tablet := w.device(t, nil, w.fcm.NewToken(), ""), w.device(t, nil, w.fcm.NewToken(), "")
	phone.register(group)
	tablet.register(group)
	credential, err := phone.Credential()
	require.NoError(t, err)
	w.says(t, "to both")
	phone.wake()
	tablet.wake()

	require.NoError(t, client.Revoke(t.Context(), credential))
	require.NoError(t, client.Revoke(t.Context(), credential), "again")
	w.says(t, "to the tablet")
	tablet.wake()
	w.silent(t, phone.token)
	status, err := phone.Status(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, pushwire.Active, status.State)
	restarted := client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(phone.token)}}}
	require.ErrorIs(t, phone.Register(t.Context(), restarted), client.ErrRevoked)
	require.Error(t, client.Revoke(t.Context(), []byte("{}")))
	require.Error(t, client.Revoke(t.Context(), []byte("no credential")))

	// The tablet's is another account, which goes on.
	tablet.register(client.NewGroup())
	w.says(t, "still to the tablet")
	tablet.wake()
	w.silent(t, phone.token)
}

// An app is installed again, and the platform gives it the same token, or another one: one
// push for each message, to the new installation.
func TestReinstall(t *testing.T) {
	w := startWorld(t)
	for name, token := range map[string]func(former string) string{
		"same token":  func(former string) string { return former },
		"other token": func(string) string { return w.fcm.NewToken() },
	} {
		t.Run(name, func(t *testing.T) {
			former := w.device(t, nil, w.fcm.NewToken(), "")
			former.register(nil)
			if name == "other token" {
				w.fcm.Unregister(former.token)
			}
			d := w.device(t, nil, token(former.token), "")
			d.register(nil)
			w.says(t, "once, "+name)
			d.wake()
			w.says(t, "twice, "+name)
			d.wake()
			require.Equal(t, []string{"once, " + name, "twice, " + name}, d.texts)
			w.silent(t, d.token)
			require.NoError(t, d.Unregister(t.Context()))
		})
	}
}
