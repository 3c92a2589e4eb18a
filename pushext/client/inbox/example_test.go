package inbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// The app of docs/sdk.md at a node as wnode runs it, with an emulated Firebase.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "sdk")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	w, stop, err := begin(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	me, err := crypto.GenerateKey()
	if err != nil {
		log.Fatal(err)
	}
	token, pushes := w.fcm.NewToken(), 0
	err = app(ctx, dir, w.enode, w.pushKey, token, me, func() map[string]string {
		if pushes++; pushes == 2 { // the address is proved; now somebody writes
			w.write(ctx, "supper is ready")
		}
		data := make(map[string]string) // Firebase makes a string of every value
		select {
		case push := <-w.fcm.Pushes(token):
			var body map[string]any
			if err := json.Unmarshal(push.Body, &body); err != nil {
				log.Print(err)
			}
			for name, value := range body {
				data[name] = fmt.Sprint(value)
			}
		case <-ctx.Done():
		}
		return data
	})
	fmt.Println("ended:", err)
	// Output:
	// badge: 0
	// show: family: supper is ready
	// badge: 1
	// remove
	// badge: 0
	// ended: <nil>
}

// write has somebody write to the family.
func (w *world) write(ctx context.Context, text string) {
	alice, err := client.Open(ctx, client.Config{Server: w.enode, PushKey: w.pushKey})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	sealed, err := whisper.Seal(ctx, client.Compose(family(), []byte(text), nil, time.Now()))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := alice.Post(ctx, sealed, false); err != nil {
		log.Fatal(err)
	}
}

// What docs/sdk.md shows is what Example runs, and is as short as it says.
func TestAppOfTheDocs(t *testing.T) {
	docs, err := os.ReadFile("../../../docs/sdk.md")
	require.NoError(t, err)
	source, err := os.ReadFile("app_test.go")
	require.NoError(t, err)
	_, code, found := strings.Cut(string(source), "import (")
	require.True(t, found)
	require.Contains(t, string(docs), "import ("+code)
	require.Less(t, strings.Count(string(source), "\n"), 80)
}
