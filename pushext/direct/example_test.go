package direct_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext"
	"whisperpush/pushext/direct"
)

// printer is a connection to a device that prints what the device is rung with.
type printer struct{}

func (printer) Up() bool { return true }

func (printer) Ring(_ context.Context, body []byte) error {
	fmt.Printf("ring: %s\n", body)
	return nil
}

// A device is rung once it was heard: the push server tells whose link a request with
// a valid signature came by.
func ExampleNew() {
	provider, err := direct.New(direct.Config{})
	if err != nil {
		log.Fatal(err)
	}
	key, err := crypto.GenerateKey() // the registration's
	if err != nil {
		log.Fatal(err)
	}
	address := pushext.Address{Token: string(crypto.CompressPubkey(&key.PublicKey))}
	wakeUp := pushext.Notification{Address: address, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`)}

	fmt.Println(provider.Push(context.Background(), wakeUp).Class)
	provider.Heard(address, printer{})
	fmt.Println(provider.Push(context.Background(), wakeUp).Class)
	// Output:
	// absent
	// ring: {"v":2,"p":"c2VhbGVk"}
	// delivered
}
