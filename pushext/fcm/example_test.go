package fcm_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
)

// The project is an emulated one, so its endpoint is named; without one it is Google's.
func ExampleNew() {
	project, err := emulate.StartFCM(emulate.FCMConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer project.Close()

	provider, err := fcm.New(fcm.Config{
		CredentialsJSON: project.CredentialsJSON(), // or CredentialsFile, the service account's key file
		Endpoint:        project.Endpoint(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	verdict := provider.Push(context.Background(), pushext.Notification{
		Address: pushext.Address{Token: project.NewToken()}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "one-per-registration", TTL: time.Hour, Urgent: true, Visible: true, ID: "01-wake-up",
	})
	fmt.Println(verdict.Class, "-", verdict.Reason)
	// Output: delivered - fcm 200
}
