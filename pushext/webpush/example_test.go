package webpush_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/webpush"
)

// The app subscribes with the provider's public key; what it gets is the address. The
// push service is emulated on this computer, which AllowPrivate is for.
func ExampleNew() {
	service, err := emulate.StartWebPush(emulate.WebPushConfig{TLS: true})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()

	key, err := webpush.NewKey() // once, to be kept in a file
	if err != nil {
		log.Fatal(err)
	}
	provider, err := webpush.New(webpush.Config{
		Key: key, Contact: "mailto:operator@example.org", AllowPrivate: true, TLS: service.ClientTLS(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	subscription, err := service.Subscribe(provider.PublicKey())
	if err != nil {
		log.Fatal(err)
	}
	address := pushext.Address{Token: subscription.Endpoint, Keys: [][]byte{subscription.P256dh, subscription.Auth}}
	if err := provider.Check(address); err != nil {
		log.Fatal(err)
	}
	verdict := provider.Push(context.Background(), pushext.Notification{
		Address: provider.Canonical(address), Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "one-per-registration", TTL: time.Hour, Urgent: true, Visible: true, ID: "01-wake-up",
	})
	fmt.Println(verdict.Class, "-", verdict.Reason)
	// Output: delivered - webpush 201
}

func ExampleProvider_Canonical() {
	key, err := webpush.NewKey()
	if err != nil {
		log.Fatal(err)
	}
	provider, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:operator@example.org"})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	for _, endpoint := range []string{"https://PUSH.example.org:443/u/%31", "https://push.example.org./x/../u/1?"} {
		fmt.Println(provider.Canonical(pushext.Address{Token: endpoint}).Token)
	}
	// Output:
	// https://push.example.org/u/1
	// https://push.example.org/u/1
}
