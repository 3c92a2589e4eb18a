package phone

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
)

// Screen is the platform's notifications. Its methods are called one at a time, from a
// thread of the library, and must not call the App.
type Screen interface {
	// Show shows a notification, in place of the one with the same id if there is one.
	// The notification is a JSON object: id, chat, title, sender, text, sent, claimed,
	// link, unread, manner. After an error, it is shown again at the next occasion.
	Show(notification string) error
	// Remove removes a notification, if there is one.
	Remove(id string) error
	// SetBadge sets the number on the app's icon. On iOS, 0 removes all notifications.
	SetBadge(count int) error
}

// App is an app's device and inbox.
type App struct {
	device   *client.Device
	inbox    *inbox.Inbox
	screen   *screen
	own      *ecdsa.PrivateKey
	sync     *client.Chat
	patience time.Duration

	life context.Context
	end  context.CancelFunc

	mu    sync.Mutex // guards the following
	rings context.CancelFunc
	wg    sync.WaitGroup // of listen
}

// Open opens the account in a directory, or begins one. It asks the server nothing.
// settings is a JSON object; see docs/bindings.md.
func Open(settings string, platform Screen) (*App, error) {
	s, err := readSettings(settings)
	if err != nil {
		return nil, err
	}
	if platform == nil {
		return nil, errors.New("the screen is missing")
	}
	chats, err := openChats(s.Chats)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	p := &App{screen: &screen{platform: platform}, patience: s.patience()}
	if s.Sync != nil {
		own, err := s.Sync.open()
		if err != nil {
			return nil, fmt.Errorf("settings: sync: %w", err)
		}
		p.sync = &own
		chats = append(chats, own)
	}
	if p.own, err = s.identity(); err != nil {
		return nil, err
	}
	p.life, p.end = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(p.life, p.patience)
	defer cancel()
	p.device, err = client.Open(ctx, client.Config{
		Server: s.Server, PushKey: s.PushKey, FormerPushKeys: s.FormerPushKeys, Store: client.FileStore(filepath.Join(s.Directory, "device")),
		Chats: chats, MailPassword: s.MailPassword, Installation: s.Installation, Complete: true,
	})
	if err != nil {
		return nil, err
	}
	p.inbox, err = inbox.Open(ctx, inbox.Config{
		File: filepath.Join(s.Directory, "inbox"), Device: p.device, App: p.screen, Own: []*ecdsa.PrivateKey{p.own}, Sync: p.sync,
	})
	if err != nil {
		return nil, errors.Join(err, p.device.Close())
	}
	return p, nil
}

// Close ends everything under way and releases the files. The registration stays.
func (p *App) Close() error {
	p.mu.Lock()
	p.end()
	p.mu.Unlock()
	p.wg.Wait()
	return errors.Join(p.inbox.Close(), p.device.Close())
}

// Receive handles what a push service handed to the app. platform is fcm (the data as an
// object), apns (userInfo), hms, pushy, webpush (also for UnifiedPush), webhook, or empty
// for the body itself. The result is shown and removed on the Screen, and is also in the
// answer: {"ours":true,"shown":[…],"removed":[…],"badge":2}. A push of another sender is
// not an error: {"ours":false}.
func (p *App) Receive(platform string, push []byte) (string, error) {
	body, err := bodyOf(platform, push)
	answer := received{Shown: []json.RawMessage{}, Removed: []string{}}
	if err == nil {
		ctx, done := p.begin()
		defer done()
		stop := p.screen.record(&answer)
		err = p.inbox.Receive(ctx, body)
		stop()
	}
	if errors.Is(err, client.ErrNotOurs) {
		return encode(answer, nil)
	}
	answer.Ours = true
	text, failed := encode(answer, nil)
	return text, errors.Join(err, failed)
}

// begin makes the context of a call.
func (p *App) begin() (context.Context, func()) {
	return context.WithTimeout(p.life, p.patience)
}

func bodyOf(platform string, push []byte) ([]byte, error) {
	switch platform {
	case "":
		return push, nil
	case "fcm":
		var data map[string]string
		if err := json.Unmarshal(push, &data); err != nil {
			return nil, fmt.Errorf("%w: the data of a Firebase message is an object of strings", client.ErrNotOurs)
		}
		return client.FromFCM(data)
	case "apns":
		return client.FromAPNs(push)
	case "hms":
		return client.FromHMS(string(push))
	case "pushy":
		return client.FromPushy(push)
	case "webpush":
		return client.FromWebPush(push)
	case "webhook":
		return client.FromWebhook(push)
	}
	return nil, fmt.Errorf("there is no platform %.20q; give fcm, apns, hms, pushy, webpush, webhook, or nothing", platform)
}

// received is the answer of Receive.
type received struct {
	Ours    bool              `json:"ours"`
	Shown   []json.RawMessage `json:"shown"`
	Removed []string          `json:"removed"`
	Badge   *int              `json:"badge,omitempty"`
}

// screen is the inbox's App. It forwards to the platform.
type screen struct {
	platform Screen

	mu  sync.Mutex // guards the following
	log *received  // of the call that asked for it; nil: none did
}

// record notes in received what is shown and removed until stop is called.
func (s *screen) record(in *received) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.log
	s.log = in
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log = before
	}
}

func (s *screen) note(fn func(r *received)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log != nil {
		fn(s.log)
	}
}

// Show implements inbox.App.
func (s *screen) Show(n inbox.Notification) error {
	text, err := json.Marshal(notificationOf(n))
	if err != nil {
		return err
	}
	if err := s.platform.Show(string(text)); err != nil {
		return err
	}
	s.note(func(r *received) { r.Shown = append(r.Shown, text) })
	return nil
}

// Remove implements inbox.App.
func (s *screen) Remove(id common.Hash) error {
	if err := s.platform.Remove(id.Hex()); err != nil {
		return err
	}
	s.note(func(r *received) { r.Removed = append(r.Removed, id.Hex()) })
	return nil
}

// SetBadge implements inbox.App.
func (s *screen) SetBadge(n int) error {
	if err := s.platform.SetBadge(n); err != nil {
		return err
	}
	s.note(func(r *received) { r.Badge = &n })
	return nil
}
