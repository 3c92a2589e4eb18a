package webhook_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/webhook"
)

// The receiver is on this computer, which AllowPrivate is for. It verifies the signature
// that its secret makes.
func ExampleNew() {
	receiver, err := emulate.StartWebhook(emulate.WebhookConfig{TLS: true})
	if err != nil {
		log.Fatal(err)
	}
	defer receiver.Close()

	provider, err := webhook.New(webhook.Config{AllowPrivate: true, TLS: receiver.ClientTLS()})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	url, _, secret := receiver.NewEndpoint()
	address := pushext.Address{Token: url, Keys: [][]byte{secret}}
	if err := provider.Check(address); err != nil {
		log.Fatal(err)
	}
	verdict := provider.Push(context.Background(), pushext.Notification{
		Address: address, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "one-per-registration", TTL: time.Hour, Urgent: true, Visible: true, ID: "01-wake-up",
	})
	fmt.Println(verdict.Class, "-", verdict.Reason)
	// Output: delivered - webhook 204
}
