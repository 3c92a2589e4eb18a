// Command groupmember is a member of groups that uses the Go SDK, for tests of clients in
// other languages. It founds a group at a door, invites the person named by a contact link of
// web/app, and then obeys its standard input. "say TEXT" writes to the group. "mention TEXT"
// does the same and rings the other member. "heard" asks for what was written and prints it,
// one line "heard: TEXT" each, and then "that is all".
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/group"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

func main() {
	door := flag.String("door", "", "`URL` of the mailserver's door")
	pushKey := flag.String("push-key", "", "the mailserver's push key in `HEX`")
	contact := flag.String("contact", "", "contact `LINK` of who is invited")
	name := flag.String("name", "choir", "`NAME` of the group")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *door, *pushKey, *contact, *name); err != nil {
		fmt.Fprintln(os.Stderr, "groupmember:", err)
		os.Exit(1)
	}
}

// reached is where a contact link leads.
type reached struct {
	key   *ecdsa.PublicKey
	topic whisper.Topic
}

func readLink(link string) (reached, error) {
	_, fragment, _ := strings.Cut(link, "#")
	q, err := url.ParseQuery(fragment)
	if err != nil {
		return reached{}, fmt.Errorf("contact link: %w", err)
	}
	key, err := hex.DecodeString(q.Get("contact"))
	if err != nil {
		return reached{}, fmt.Errorf("contact link: key: %w", err)
	}
	topic, err := hex.DecodeString(q.Get("at"))
	if err != nil || len(topic) != whisper.TopicSize {
		return reached{}, fmt.Errorf("contact link: topic %q", q.Get("at"))
	}
	public, err := crypto.DecompressPubkey(key)
	if err != nil {
		return reached{}, fmt.Errorf("contact link: key: %w", err)
	}
	return reached{public, whisper.Topic(topic)}, nil
}

func run(ctx context.Context, door, pushKey, contact, name string) error {
	other, err := readLink(contact)
	if err != nil {
		return err
	}
	me, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	book, err := group.OpenBook(ctx, new(client.MemoryStore), me)
	if err != nil {
		return err
	}
	rung, err := client.Open(ctx, client.Config{Server: door, PushKey: pushKey, Chats: book.Chats(), Complete: true})
	if err != nil {
		return err
	}
	defer rung.Close()
	route, err := rung.DirectRoute("direct")
	if err != nil {
		return err
	}
	// It never listens, so nobody rings it; but the mailserver learns its topics.
	if err := rung.Register(ctx, client.Registration{Routes: []pushwire.Route{route}}); err != nil {
		return err
	}
	mentions := false
	device, err := group.Attach(group.Config{Book: book, Rung: rung, Mentioned: func(group.ID, []byte) []*ecdsa.PublicKey {
		if mentions {
			return []*ecdsa.PublicKey{other.key}
		}
		return nil
	}})
	if err != nil {
		return err
	}
	id, err := book.Found(ctx, name)
	if err != nil {
		return err
	}
	invited, err := device.Change(ctx, id, group.Change{Add: []group.Member{{Key: group.KeyOf(other.key)}}})
	if err != nil {
		return err
	}
	for _, i := range invited {
		draft := client.Compose(client.Chat{Topic: other.topic}, i.Payload, me, time.Now())
		draft.To = i.To
		sealed, err := whisper.Seal(ctx, draft)
		if err != nil {
			return err
		}
		if _, err := rung.Post(ctx, sealed, true); err != nil {
			return err
		}
	}
	fmt.Println("invited: " + name)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		word, text, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "say", "mention":
			mentions = word == "mention"
			chat := book.Chat(id)
			sealed, err := whisper.Seal(ctx, client.Compose(chat, []byte(text), me, time.Now()))
			if err != nil {
				return err
			}
			if _, err := device.Post(ctx, sealed, true); err != nil {
				return err
			}
			fmt.Println("written: " + text)
		case "heard":
			if err := heard(ctx, device, me); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown word %q", word)
		}
	}
	return nil
}

// heard prints what others wrote in the group, and then "that is all". A mention arrives
// twice, and is printed as one message.
func heard(ctx context.Context, device *group.Device, me *ecdsa.PrivateKey) error {
	event, err := device.History(ctx)
	if err != nil && !errors.Is(err, client.ErrNotOurs) {
		return err
	}
	var shown []common.Hash
	known := make(map[common.Hash]bool)
	for _, p := range event.Previews {
		shown = append(shown, p.Hash)
		if !known[p.Message] && !p.Sender.Equal(&me.PublicKey) {
			fmt.Printf("heard: %s\n", p.Text)
		}
		known[p.Message] = true
	}
	if err := device.Shown(ctx, shown...); err != nil {
		return err
	}
	fmt.Println("that is all")
	return nil
}
