package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/genuinenode"
	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
	"whisperpush/wnode/rpc"
)

// world is a mailserver with push, an emulated FCM, and a device, with
// everything that the node logs.
type world struct {
	*Node
	cfg   config.Config
	fcm   *emulate.FCM
	token string
	state client.MemoryStore
	log   loopback.Log
}

func newWorld(t *testing.T) *world {
	t.Helper()
	fcm, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(fcm.Close)
	w := &world{cfg: loopback.Config(t), fcm: fcm, token: fcm.NewToken()}
	credentials := filepath.Join(t.TempDir(), "service-account.json")
	require.NoError(t, os.WriteFile(credentials, fcm.CredentialsJSON(), 0o600))
	w.cfg.RPC.IPCDisable = true
	w.cfg.Metrics.Enabled, w.cfg.Status.Enabled = true, true
	w.cfg.Log = config.Log{Verbosity: 5, Format: "json"}
	w.cfg.Push.Provider = []config.Provider{{Name: "fcm", Type: "fcm", Options: map[string]any{
		"Endpoint": fcm.Endpoint(), "CredentialsFile": credentials,
	}}}
	return w
}

// restart starts the node with push on or off, after stopping the one before.
func (w *world) restart(t *testing.T, push bool) {
	t.Helper()
	w.halt()
	w.cfg.Mailserver.Enabled, w.cfg.Push.Enabled = true, push
	require.NoError(t, w.cfg.Validate())
	s, err := Start(w.cfg, NewLogger(&w.log, w.cfg.Log))
	require.NoError(t, err)
	w.Node = s
	t.Cleanup(s.Stop)
}

func (w *world) halt() {
	if w.Node != nil {
		w.Stop()
	}
}

func loopChat() client.Chat {
	return client.Chat{Name: "family", Topic: whisper.Topic{0xca, 0x4a, 0x41, 0x59}, Key: bytes.Repeat([]byte{7}, 32)}
}

// device opens the device against the node as it runs now.
func (w *world) device(t *testing.T, pushKey *ecdsa.PublicKey) *client.Device {
	t.Helper()
	return w.deviceOf(t, client.Config{Server: w.link.Self().URLv4(), PushKey: compressedHex(pushKey), Store: &w.state})
}

// deviceOf opens a device in the chat.
func (w *world) deviceOf(t *testing.T, c client.Config) *client.Device {
	t.Helper()
	c.Chats, c.Logger = []client.Chat{loopChat()}, NewLogger(&w.log, w.cfg.Log)
	d, err := client.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// register brings the device to the point where it sleeps.
func (w *world) register(t *testing.T) *client.Device {
	t.Helper()
	d := w.device(t, w.PushKey())
	require.NoError(t, d.Register(t.Context(), client.Registration{
		Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(w.token)}},
	}))
	event, err := d.Receive(t.Context(), w.ring(t))
	require.NoError(t, err)
	require.Equal(t, pushwire.Challenge, event.Kind)
	require.True(t, d.Active())
	d.Sleep()
	return d
}

// ring waits for a push to the device.
func (w *world) ring(t *testing.T) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	select {
	case push := <-w.fcm.Pushes(w.token):
		return push.Body
	case <-ctx.Done():
		require.FailNow(t, "no push within 15 s")
		return nil
	}
}

// post archives a message of the chat. It returns after the fsync.
func (w *world) post(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, w.postText(t.Context(), text))
}

func (w *world) postText(ctx context.Context, text string) error {
	e, err := whisper.Seal(ctx, whisper.Draft{
		Payload: []byte(text), Topic: loopChat().Topic, Key: loopChat().Key, PoW: whisper.DefaultMinPoW,
	})
	if err != nil {
		return err
	}
	return w.whisper.Post(ctx, e)
}

// shows handles a push and returns the texts of its previews.
func shows(t *testing.T, d *client.Device, push []byte) []string {
	t.Helper()
	event, err := d.Receive(t.Context(), push)
	require.NoError(t, err)
	require.Empty(t, event.Missing)
	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))
	var texts []string
	for _, p := range event.Previews {
		texts = append(texts, p.Text)
	}
	return texts
}

// A message that the genuine node sends makes Bob's device ring, and shows who
// wrote what.
func TestGenuineNodeRings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, true)
	d := w.register(t)

	genuine := genuinenode.Run(t, genuinenode.Options{})
	require.NoError(t, genuine.AddPeer(t.Context(), w.link.Self().URLv4()))
	sender := newKey(t)
	_, err := genuine.Post(t.Context(), genuinenode.Post{
		SymKey: loopChat().Key, SignKey: sender, Topic: loopChat().Topic, Payload: []byte("from the genuine node"),
		PoW: whisper.DefaultMinPoW,
	})
	require.NoError(t, err)

	event, err := d.Receive(t.Context(), w.ring(t))
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	p := event.Previews[0]
	require.Equal(t, "from the genuine node", p.Text)
	require.Equal(t, "family", p.Chat)
	require.True(t, p.Sender.Equal(&sender.PublicKey))
}

// Alice has the genuine node, which knows only her mailserver. Bob's is another one, and wakes
// his device.
func TestGenuineNodeRingsAtAnotherServer(t *testing.T) {
	t.Parallel()
	alices := newWorld(t)
	alices.restart(t, true)
	bobs := newWorld(t)
	bobs.cfg.Node.StaticNodes = []string{alices.link.Self().URLv4()}
	bobs.restart(t, true)
	d := bobs.register(t)

	genuine := genuinenode.Run(t, genuinenode.Options{})
	require.NoError(t, genuine.AddPeer(t.Context(), alices.link.Self().URLv4()))
	_, err := genuine.Post(t.Context(), genuinenode.Post{
		SymKey: loopChat().Key, SignKey: newKey(t), Topic: loopChat().Topic, Payload: []byte("from Alice"), PoW: whisper.DefaultMinPoW,
	})
	require.NoError(t, err)
	require.Equal(t, []string{"from Alice"}, shows(t, d, bobs.ring(t)))
}

// Pushes that never reach the device are noticed at the next one, which names
// what they told of and shows it.
func TestLostPushesAreRepaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, true)
	d := w.register(t)
	for _, text := range []string{"one", "two"} {
		w.post(t, text)
		w.ring(t) // and the phone was off for longer than the service keeps it
	}
	w.post(t, "three")
	event, err := d.Receive(t.Context(), w.ring(t))
	require.NoError(t, err)
	require.True(t, event.Gap)
	var texts []string
	for _, p := range event.Previews {
		texts = append(texts, p.Text)
	}
	require.ElementsMatch(t, []string{"one", "two", "three"}, texts)
	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))

	w.post(t, "four")
	event, err = d.Receive(t.Context(), w.ring(t))
	require.NoError(t, err)
	require.False(t, event.Gap, "all is repaired")
	require.Len(t, event.Previews, 1)
}

// With push off nothing of it runs or is on the disk, its requests are counted,
// and mail goes on. Turned on it starts at the end of the log; off and on again
// it resumes where it was.
func TestPushOffAndOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, false)
	require.Nil(t, w.push)
	for _, name := range []string{"push", "pushkey", "push.disk.key"} {
		require.NoFileExists(t, filepath.Join(w.cfg.Node.DataDir, name))
		require.NoDirExists(t, filepath.Join(w.cfg.Node.DataDir, name))
	}
	w.post(t, "before push was ever on")

	// A device gets no answer about push, but can fetch its mail.
	d := w.device(t, &newKey(t).PublicKey)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := d.Status(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Contains(t, string(scrape(t, w)), `whisperpush_wnode_requests_total{destination="ignored"} 1`)
	event, err := d.History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Previews, 1)
	require.NoError(t, d.Close())
	w.state = client.MemoryStore{}

	w.restart(t, true)
	d = w.register(t)
	w.post(t, "while push is on")
	require.Equal(t, []string{"while push is on"}, shows(t, d, w.ring(t)), "what was archived before push was on does not ring")
	require.NoError(t, d.Close())

	w.restart(t, false)
	w.post(t, "while push is off")
	require.Empty(t, w.fcm.Pushes(w.token))

	w.restart(t, true)
	d = w.device(t, w.PushKey())
	require.Equal(t, []string{"while push is off"}, shows(t, d, w.ring(t)), "push resumes at its cursor")
}

// Invariant 3: no token, endpoint, topic or key in a log, a metric or, unsealed,
// on the disk, whatever happens.
func TestCanaries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, true)
	d := w.register(t)

	// Everything that logs: refusals of the provider, a message, a lie, a status.
	w.fcm.Script(w.token, emulate.Answer{Code: "UNAVAILABLE"}, emulate.Answer{Code: "QUOTA_EXCEEDED", RetryAfter: "0"})
	w.post(t, "the canary sings")
	require.Equal(t, []string{"the canary sings"}, shows(t, d, w.ring(t)))
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	require.Error(t, d.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "nobody", Address: []byte(w.token)}}}))
	require.NoError(t, d.Unregister(t.Context()))
	require.NoError(t, d.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(w.token)}}}))
	w.fcm.Unregister(w.token)
	metrics := scrape(t, w)
	page := statusDocument(t, w)
	w.halt()

	state, err := w.state.Load(t.Context())
	require.NoError(t, err)
	chat := loopChat()
	canaries := map[string][]byte{
		"token": []byte(w.token), "topic": chat.Topic[:], "text": []byte("the canary sings"),
		"chat key": chat.Key, "device state": state, "FCM host": []byte(w.fcm.URL()),
	}
	hidden := func(what string, b []byte, names ...string) {
		t.Helper()
		for _, name := range names {
			c := canaries[name]
			for form, needle := range map[string][]byte{
				"as it is": c, "in hexadecimal": []byte(hex.EncodeToString(c)), "in base64": []byte(base64.StdEncoding.EncodeToString(c)),
			} {
				require.False(t, len(needle) > 3 && bytes.Contains(bytes.ToLower(b), bytes.ToLower(needle)), "%s shows the %s %s", what, name, form)
			}
		}
	}
	log := w.log.Bytes()
	require.Contains(t, string(log), `"level"`, "there is a log to look at")
	hidden("the log", log, "token", "topic", "text", "chat key", "FCM host")
	hidden("the metrics", metrics, "token", "topic", "text", "chat key", "FCM host")
	hidden("the status page", page, "token", "topic", "text", "chat key", "FCM host")
	require.NoError(t, filepath.WalkDir(filepath.Join(w.cfg.Node.DataDir, "push"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		hidden(path, content, "token", "topic", "text", "chat key")
		return err
	}))
}

// statusDocument is what the status page shows.
func statusDocument(t *testing.T, w *world) []byte {
	t.Helper()
	i := slices.IndexFunc(w.http, func(l *rpc.Listener) bool { return l.Scheme == "status" })
	require.GreaterOrEqual(t, i, 0, "the status page is on")
	response, err := http.Get("http://" + w.http[i].Addr.String() + "/status.json")
	require.NoError(t, err)
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(b), `"push":true`)
	return b
}

func scrape(t *testing.T, w *world) []byte {
	t.Helper()
	require.NotEmpty(t, w.http)
	response, err := http.Get("http://" + w.http[len(w.http)-1].Addr.String() + "/metrics") // the last is the metrics'
	require.NoError(t, err)
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return b
}
