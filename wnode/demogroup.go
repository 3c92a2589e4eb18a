package wnode

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/group"
	"whisperpush/pushext/client/inbox"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// member is a person's device in a group, with everything that an app keeps for it.
type member struct {
	*demoDevice // registered, and woken by pushes
	name        string
	book        *group.Book
	device      *group.Device
	inbox       *inbox.Inbox
	tray        *demoTray
}

// demoTray is a platform's list of notifications.
type demoTray struct {
	mu  sync.Mutex
	now map[common.Hash]inbox.Notification
}

func (t *demoTray) Show(n inbox.Notification) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now[n.ID] = n
	return nil
}

func (t *demoTray) Remove(id common.Hash) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, id)
	return nil
}

func (t *demoTray) SetBadge(int) error { return nil }

// only returns the only notification; any other number is an error.
func (t *demoTray) only() (n inbox.Notification, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.now) != 1 {
		return n, fmt.Errorf("%d notifications, not 1", len(t.now))
	}
	for _, n = range t.now {
	}
	return n, nil
}

// demoTalk is written in the group before Bob is mentioned.
var demoTalk = []string{"Who comes on Friday?", "I can bring a piano.", "You cannot."}

const demoMention = "Bob, will you sing?"

// actTwo is a group: a mention wakes only the mentioned person; they read it on the tablet, and it disappears from the
// phone.
func (d *demo) actTwo(ctx context.Context, dir string) (string, error) {
	before := len(d.fcm.Received())
	aliceKey := d.aliceKey
	bobKey, err := crypto.GenerateKey()
	if err != nil {
		return "", err
	}
	carolKey, err := crypto.GenerateKey()
	if err != nil {
		return "", err
	}
	bobs := client.NewGroup() // tells the mailserver that his devices share what was read
	open := func(name string, key *ecdsa.PrivateKey, devices []byte) (*member, error) {
		m, err := d.openMember(ctx, filepath.Join(dir, strings.ReplaceAll(name, "'", "")), name, key, devices)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return m, nil
	}
	alice, err := open("alice's phone", aliceKey, nil)
	if err != nil {
		return "", err
	}
	phone, err := open("bob's phone", bobKey, bobs)
	if err != nil {
		return "", err
	}
	tablet, err := open("bob's tablet", bobKey, bobs)
	if err != nil {
		return "", err
	}
	carol, err := open("carol's phone", carolKey, nil)
	if err != nil {
		return "", err
	}
	challenges := len(d.fcm.Received()) - before

	id, err := alice.book.Found(ctx, "choir")
	if err != nil {
		return "", err
	}
	_, err = alice.device.Change(ctx, id, group.Change{Add: []group.Member{{Key: group.KeyOf(&bobKey.PublicKey)}, {Key: group.KeyOf(&carolKey.PublicKey)}}})
	if err != nil {
		return "", err
	}
	for m, key := range map[*member]*ecdsa.PrivateKey{phone: bobKey, tablet: bobKey, carol: carolKey} {
		invitation, err := alice.book.Invite(id, group.KeyOf(&key.PublicKey))
		if err == nil {
			_, err = m.book.Join(ctx, invitation, &aliceKey.PublicKey)
		}
		if err == nil {
			err = m.inbox.History(ctx) // tells the mailserver what to ring for
		}
		if err == nil {
			err = m.inbox.SetChats(ctx, m.device.Chats())
		}
		if err != nil {
			return "", fmt.Errorf("%s cannot join: %w", m.name, err)
		}
		m.Sleep()
	}
	d.trace.line("group", "choir: alice, bob with two devices, carol; the mailserver knows 2 topics of each device, none of them the group's")
	known := len(d.fcm.Received())
	for at, text := range append(demoTalk, demoMention) {
		author := alice
		if at == 1 {
			author = carol
		}
		key := map[*member]*ecdsa.PrivateKey{alice: aliceKey, carol: carolKey}[author]
		sealed, err := whisper.Seal(ctx, client.Compose(author.book.Chat(id), []byte(text), key, time.Now()))
		if err == nil {
			_, err = author.device.Post(ctx, sealed, false)
		}
		if err != nil {
			return "", err
		}
		d.trace.line(author.name, "writes to choir: %q", text)
		author.Sleep()
	}
	for _, m := range []*member{phone, tablet} {
		if err := m.wakeUp(ctx, d); err != nil {
			return "", err
		}
		n, err := m.tray.only()
		if err != nil || n.Text != demoMention || n.Title != "choir" {
			return "", errors.Join(fmt.Errorf("%s shows %q of %q, not the mention", m.name, n.Text, n.Title), err)
		}
		d.trace.line(m.name, "is mentioned, and shows %q in %s", n.Text, n.Title)
	}
	return d.readOnTablet(ctx, phone, tablet, known, challenges)
}

// readOnTablet makes Bob read the mention on his tablet, after which it is gone from the phone, and follow its link.
func (d *demo) readOnTablet(ctx context.Context, phone, tablet *member, known, challenges int) (string, error) {
	shown, err := tablet.tray.only()
	if err != nil {
		return "", err
	}
	start := time.Now()
	if err := errors.Join(tablet.inbox.ChatOpened(ctx, shown.Chat), tablet.inbox.Foreground(ctx), tablet.inbox.Flush(ctx)); err != nil {
		return "", err
	}
	d.trace.line(tablet.name, "opens choir: read")
	if err := phone.wakeUp(ctx, d); err != nil {
		return "", err
	}
	if _, err := phone.tray.only(); err == nil {
		return "", errors.New("the phone still shows what was read on the tablet")
	}
	d.trace.line(phone.name, "removes it, %d ms after it was read; nothing is shown any more", time.Since(start).Milliseconds())
	target, err := phone.inbox.Resolve(shown.Link)
	if err != nil {
		return "", fmt.Errorf("the link %s leads nowhere: %w", shown.Link, err)
	}
	if target.Message.Hash != shown.ID {
		return "", fmt.Errorf("the link %s leads to another message", shown.Link)
	}
	d.trace.line(phone.name, "follows %.40s… to %q in choir", shown.Link, target.Message.Text)

	pushes := d.fcm.Received()[known:]
	for _, push := range pushes {
		if push.Token != phone.token && push.Token != tablet.token {
			return "", errors.New("somebody was woken who was not mentioned")
		}
	}
	if len(pushes) < 3 {
		return "", fmt.Errorf("%d pushes, not 3: the mention on two devices, and a removal", len(pushes))
	}
	return fmt.Sprintf("act two ok: %d messages in a group of 3, %d devices woken for the mention, 1 notification removed; %d devices joined", len(demoTalk)+1, 2, challenges), nil
}

// openMember opens a device with an app's inbox and groups, and registers it.
func (d *demo) openMember(ctx context.Context, dir, name string, key *ecdsa.PrivateKey, devices []byte) (*member, error) {
	m := &member{name: name, tray: &demoTray{now: make(map[common.Hash]inbox.Notification)}}
	var err error
	if m.book, err = group.OpenBook(ctx, client.FileStore(dir+"-groups.json"), key); err != nil {
		return nil, err
	}
	var both [2]*client.Device
	for i := range both {
		both[i], err = client.Open(ctx, client.Config{
			Server: d.mail.Self().URLv4(), PushKey: hexutil.Encode(crypto.FromECDSAPub(d.mail.PushKey())), Complete: true, Logger: d.logger,
		})
		if err != nil {
			return nil, err
		}
		d.stops = append(d.stops, func() {
			if err := both[i].Close(); err != nil {
				d.logger.Error("closing a device", "err", err)
			}
		})
	}
	m.demoDevice = &demoDevice{Device: both[0], name: name, token: d.fcm.NewToken()}
	m.device, err = group.Attach(group.Config{
		Book: m.book, Rung: both[0], Reader: both[1], Logger: d.logger,
		Mentioned: func(id group.ID, payload []byte) []*ecdsa.PublicKey { return m.mentioned(id, string(payload)) },
	})
	if err != nil {
		return nil, err
	}
	m.inbox, err = inbox.Open(ctx, inbox.Config{File: dir + "-inbox", Device: m.device, App: m.tray, Own: []*ecdsa.PrivateKey{key}, Logger: d.logger})
	if err != nil {
		return nil, err
	}
	d.stops = append(d.stops, func() { _ = m.inbox.Close() })
	route := pushwire.Route{Provider: "fcm", Address: []byte(m.token)}
	if err := m.Register(ctx, client.Registration{Routes: []pushwire.Route{route}, Group: devices}); err != nil {
		return nil, err
	}
	challenge, err := m.push(ctx, d.fcm)
	if err != nil {
		return nil, err
	}
	return m, m.inbox.Receive(ctx, challenge.Body)
}

// mentioned finds mentions as this app writes them: by the name at the beginning. Bob is the second member.
func (m *member) mentioned(id group.ID, text string) []*ecdsa.PublicKey {
	info, err := m.book.Group(id)
	if err != nil || !strings.HasPrefix(text, "Bob,") || len(info.Members) < 2 {
		return nil
	}
	bob, err := crypto.DecompressPubkey(info.Members[1].Key[:])
	if err != nil {
		return nil
	}
	return []*ecdsa.PublicKey{bob}
}

// wakeUp waits for a push and hands it to the app.
func (m *member) wakeUp(ctx context.Context, d *demo) error {
	push, err := m.push(ctx, d.fcm)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	d.trace.line("fcm", "push of %d bytes wakes %s", len(push.Body), m.name)
	if err := m.inbox.Receive(ctx, push.Body); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}
