package hms_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/hms"
)

// Push Kit is emulated, so both of its endpoints are named; without them they are
// Huawei's.
func ExampleNew() {
	huawei, err := emulate.StartHMS(emulate.HMSConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer huawei.Close()

	provider, err := hms.New(hms.Config{
		AppID:     huawei.AppID(),
		AppSecret: huawei.AppSecret(),
		Endpoint:  huawei.URL(),
		TokenURL:  huawei.TokenURL(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	verdict := provider.Push(context.Background(), pushext.Notification{
		Address: pushext.Address{Token: huawei.NewToken()}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "one-per-registration", TTL: time.Hour, Urgent: true, Visible: true, ID: "01-wake-up",
	})
	fmt.Println(verdict.Class, "-", verdict.Reason)
	// Output: delivered - hms 80000000
}
