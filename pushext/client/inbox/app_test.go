package inbox_test

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// screen is the platform: notifications and the number on the icon. Here it prints.
type screen struct{}

func (screen) Show(n inbox.Notification) error {
	fmt.Printf("show: %s: %s\n", n.Title, n.Text)
	return nil
}
func (screen) Remove(common.Hash) error { fmt.Println("remove"); return nil }
func (screen) SetBadge(n int) error     { fmt.Println("badge:", n); return nil }

// app is woken by data messages of Firebase, shows what comes, and answers. server and
// pushKey are what the mailserver prints when it starts; next waits for a push.
func app(ctx context.Context, dir, server, pushKey, token string, me *ecdsa.PrivateKey, next func() map[string]string) error {
	family := client.PasswordChat("family", whisper.TopicFor("family"), "kitchen")
	device, err := client.Open(ctx, client.Config{
		Server: server, PushKey: pushKey, Store: client.FileStore(filepath.Join(dir, "push.json")),
		Chats: []client.Chat{family}, Complete: true,
	})
	if err != nil {
		return err
	}
	defer device.Close()
	messages, err := inbox.Open(ctx, inbox.Config{
		File: filepath.Join(dir, "inbox"), Device: device, App: screen{}, Own: []*ecdsa.PrivateKey{me},
	})
	if err != nil {
		return err
	}
	defer messages.Close()
	route := pushwire.Route{Provider: "fcm", Address: []byte(token)}
	if err := device.Register(ctx, client.Registration{Routes: []pushwire.Route{route}}); err != nil {
		return err // and again whenever the platform hands out a new token
	}
	if err := messages.History(ctx); err != nil { // at every start
		return err
	}
	for messages.Unread() == 0 { // the challenge comes first, then a message
		body, err := client.FromFCM(next())
		if err != nil {
			return err // of another sender
		}
		if err := messages.Receive(ctx, body); err != nil {
			return err
		}
	}
	if err := messages.ChatOpened(ctx, family.ID()); err != nil { // the user taps
		return err
	}
	if err := messages.Foreground(ctx); err != nil { // looks, and has read it
		return err
	}
	if err := messages.Send(ctx, family.ID(), []byte("coming")); err != nil {
		return err
	}
	return messages.Flush(ctx) // what an app that goes on leaves to Run
}
