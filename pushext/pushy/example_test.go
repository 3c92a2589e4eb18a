package pushy_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushy"
)

// Pushy is emulated, so its endpoint is named.
func ExampleNew() {
	service, err := emulate.StartPushy(emulate.PushyConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()

	provider, err := pushy.New(pushy.Config{APIKey: service.APIKey(), Endpoint: service.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	verdict := provider.Push(context.Background(), pushext.Notification{
		Address: pushext.Address{Token: service.NewToken()}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "one-per-registration", TTL: time.Hour, Urgent: true, Visible: true, ID: "01-wake-up",
	})
	fmt.Println(verdict.Class, "-", verdict.Reason)
	// Output: delivered - pushy 200
}
