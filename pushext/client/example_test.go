package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// An app opens its device, registers it, and shows what pushes tell of.
func Example() {
	ctx := context.Background()
	device, err := client.Open(ctx, client.Config{
		Server:  "enode://…@mail.example.org:30303",
		PushKey: "04…",
		Store:   client.FileStore("push.json"),
		Chats:   []client.Chat{client.PasswordChat("family", whisper.TopicFor("family"), "our secret")},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer device.Close()

	token := "that the platform gave the app"
	err = device.Register(ctx, client.Registration{
		Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(token)}},
	})
	if err != nil {
		log.Fatal(err)
	}

	var show func(id common.Hash, title, text string)
	received := func(data map[string]string) error { // by the platform
		body, err := client.FromFCM(data)
		if err != nil {
			return err // of another sender
		}
		event, err := device.Receive(ctx, body)
		for _, p := range event.Previews {
			show(p.Hash, p.Chat, p.Text)
		}
		if err := device.Shown(ctx, event.Hashes()...); err != nil {
			return err
		}
		return err // what is missing comes with the next push
	}
	_ = received
}

// Firebase makes a string of every value, and adds some of its own.
func ExampleFromFCM() {
	body, err := client.FromFCM(map[string]string{"v": "2", "k": "4", "google.sent_time": "1800000000000"})
	fmt.Println(string(body), err)
	// Output: {"k":"4","v":"2"} <nil>
}

// userInfo has the body's members beside Apple's.
func ExampleFromAPNs() {
	body, err := client.FromAPNs([]byte(`{"aps":{"alert":"New message","mutable-content":1},"v":2,"p":"c2VhbGVk"}`))
	fmt.Println(string(body), err)
	// Output: {"p":"c2VhbGVk","v":2} <nil>
}
