package inbox_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/wnode"
)

// world is a mailserver with push, as wnode runs it, and an emulated FCM.
type world struct {
	fcm            *emulate.FCM
	enode, pushKey string
	log            lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func startWorld(t testing.TB) *world {
	t.Helper()
	w, stop, err := begin(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, stop())
		if t.Failed() {
			t.Log(w.log.b.String())
		}
	})
	return w
}

// begin starts a world; stop returns the node's exit code.
func begin(dir string) (w *world, stop func() int, err error) {
	w = new(world)
	if w.fcm, err = emulate.StartFCM(emulate.FCMConfig{}); err != nil {
		return nil, nil, err
	}
	credentials, settings := filepath.Join(dir, "service-account.json"), filepath.Join(dir, "node.toml")
	err = errors.Join(os.WriteFile(credentials, w.fcm.CredentialsJSON(), 0o600), os.WriteFile(settings, fmt.Appendf(nil,
		"[[Push.Provider]]\nName = \"fcm\"\nType = \"fcm\"\nEndpoint = %q\nCredentialsFile = %q\n", w.fcm.Endpoint(), credentials), 0o600))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	stdout, out := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- wnode.Main(ctx, []string{"wnode", "--datadir", filepath.Join(dir, "data"), "--config", settings, "--push",
			"--addr", "127.0.0.1", "--port", "0", "--nat", "none", "--nodiscover", "--ipcdisable"}, strings.NewReader(""), out, &w.log)
		out.Close()
	}()
	stop = func() int {
		cancel()
		defer w.fcm.Close()
		return <-ended
	}
	lines := bufio.NewScanner(stdout)
	for w.enode == "" || w.pushKey == "" {
		if !lines.Scan() {
			return nil, nil, fmt.Errorf("the node ended with %d: %s", stop(), w.log.b.String())
		}
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch name {
		case "enode":
			w.enode = strings.TrimSpace(value)
		case "pushkey":
			w.pushKey = strings.TrimSpace(value)
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()
	return w, stop, nil
}

// handset is a device with an app.
type handset struct {
	*inbox.Inbox
	*tray
	t      testing.TB
	world  *world
	device *client.Device
	cfg    inbox.Config
	token  string
}

// tray is a platform's list of notifications.
type tray struct {
	mu    sync.Mutex
	now   map[common.Hash]inbox.Notification
	shows int
	badge int
}

func (t *tray) Show(n inbox.Notification) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now[n.ID] = n
	t.shows++
	return nil
}

func (t *tray) Remove(id common.Hash) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, id)
	return nil
}

func (t *tray) SetBadge(n int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.badge = n
	return nil
}

// texts are those of what is displayed.
func (t *tray) texts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := []string{}
	for _, n := range t.now {
		all = append(all, n.Text)
	}
	return all
}

func family() client.Chat {
	return client.PasswordChat("family", whisper.TopicFor("family"), "kitchen")
}

func syncChat(person string) client.Chat {
	return client.PasswordChat("sync", whisper.TopicFor("sync of "+person), person)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return key
}

// open opens a device and its inbox, and registers.
func (w *world) open(t testing.TB, own *ecdsa.PrivateKey, group []byte, sync *client.Chat, chats ...client.Chat) *handset {
	t.Helper()
	p := &handset{t: t, world: w, tray: &tray{now: make(map[common.Hash]inbox.Notification), badge: -1}, token: w.fcm.NewToken()}
	if sync != nil {
		chats = append(chats, *sync)
	}
	var err error
	p.device, err = client.Open(context.Background(), client.Config{Server: w.enode, PushKey: w.pushKey, Chats: chats, Complete: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.device.Close()) })
	p.cfg = inbox.Config{
		File: filepath.Join(t.TempDir(), "inbox"), Device: p.device, App: p.tray, Own: []*ecdsa.PrivateKey{own}, Sync: sync,
	}
	p.Inbox, err = inbox.Open(context.Background(), p.cfg)
	require.NoError(t, err)
	require.NoError(t, p.device.Register(context.Background(), client.Registration{
		Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(p.token)}}, Group: group,
	}))
	p.wake()
	require.True(t, p.device.Active())
	return p
}

// wake waits for a push and hands it to the inbox.
func (p *handset) wake() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	select {
	case push := <-p.world.fcm.Pushes(p.token):
		require.NoError(p.t, p.Receive(ctx, push.Body))
	case <-ctx.Done():
		require.FailNow(p.t, "no push within 15 s")
	}
}

// asleep checks that no push comes for a time.
func (p *handset) asleep(during time.Duration) {
	p.t.Helper()
	select {
	case <-p.world.fcm.Pushes(p.token):
		require.FailNow(p.t, "the device was woken")
	case <-time.After(during):
	}
}
