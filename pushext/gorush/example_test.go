package gorush_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/gorush"
)

// A gorush has one provider for each platform that is enabled there. This one is emulated.
func ExampleNew() {
	server, err := emulate.StartGorush(emulate.GorushConfig{Platform: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	provider, err := gorush.New(gorush.Config{Endpoint: server.URL(), Platform: gorush.Android})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	if err := provider.Examine(context.Background()); err != nil {
		log.Fatal(err) // what to change in its configuration
	}
	verdict := provider.Push(context.Background(), pushext.Notification{
		Address: pushext.Address{Token: server.NewToken()}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "one-per-registration", TTL: time.Hour, Urgent: true, Visible: true, ID: "01-wake-up",
	})
	fmt.Println(verdict.Class, "-", verdict.Reason)
	// Output: delivered - gorush 200
}

// A gorush that answers before it sends is found out, and given nothing.
func ExampleProvider_Examine() {
	server, err := emulate.StartGorush(emulate.GorushConfig{Platform: 2, Async: true})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	provider, err := gorush.New(gorush.Config{Endpoint: server.URL(), Platform: gorush.Android})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	fmt.Println(provider.Examine(context.Background()))
	// Output: gorush's core.sync is false: it answers before it sends, so nothing it says can be believed; set core.sync: true
}
