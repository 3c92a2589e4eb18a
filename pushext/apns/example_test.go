package apns_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
)

// APNs is emulated, with a certificate authority of its own; without Endpoint and
// HTTPClient it is Apple's.
func ExampleNew() {
	apple, err := emulate.StartAPNS(emulate.APNSConfig{Topic: "org.example.app"})
	if err != nil {
		log.Fatal(err)
	}
	defer apple.Close()

	provider, err := apns.New(apns.Config{
		Key:        apple.KeyPEM(), // or KeyFile, the .p8 file of an authentication key
		KeyID:      apple.KeyID(),
		TeamID:     apple.TeamID(),
		Topic:      "org.example.app",
		Fallback:   "New message",
		Endpoint:   apple.URL(),
		HTTPClient: attempt.Client(attempt.Transport(apple.ClientTLS(), nil)),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	verdict := provider.Push(context.Background(), pushext.Notification{
		Address: pushext.Address{Token: apple.NewToken()}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "one-per-registration", TTL: time.Hour, Urgent: true, Visible: true, ID: "01-wake-up",
	})
	fmt.Println(verdict.Class, "-", verdict.Reason)
	// Output: delivered - apns 200
}
