package inbox

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// cast are the chats and people of all histories, and messages that they wrote.
type cast struct {
	bob, alice, carol *ecdsa.PrivateKey
	family, work      client.Chat
	decoy, late       client.Chat // of one topic; the key of late comes later
	sync, bell        client.Chat // nothing comes to bell before the end
	letters           []*whisper.Envelope
	last              []*whisper.Envelope // letters to bell

	push, node *ecdsa.PrivateKey // of the server
	group      []byte            // of the phones
	account    []byte            // at Firebase
}

// castOnce makes the cast: signatures take their time.
var castOnce = sync.OnceValue(func() *cast {
	key := func(n byte) *ecdsa.PrivateKey {
		k, err := crypto.ToECDSA(slices.Repeat([]byte{n}, 32))
		if err != nil {
			panic(err)
		}
		return k
	}
	chat := func(name string, topic byte) client.Chat {
		return client.Chat{Name: name, Topic: whisper.Topic{topic}, Key: crypto.Keccak256([]byte(name))}
	}
	c := &cast{
		bob: key(1), alice: key(2), carol: key(3),
		family: chat("family", 1), work: chat("work", 2), decoy: chat("decoy", 3), late: chat("late", 3), sync: chat("sync", 4), bell: chat("bell", 5),
		push: key(4), node: key(5), group: slices.Repeat([]byte{6}, 32), account: serviceAccount(),
	}
	for _, chat := range []client.Chat{c.family, c.work, c.decoy, c.late, c.sync, c.bell} {
		chatIDs[chat.Name] = chat.ID()
	}
	for n := range 53 {
		of := []client.Chat{c.family, c.work, c.late, c.family}[n%4]
		if n >= 48 {
			of = c.bell
		}
		from := []*ecdsa.PrivateKey{c.alice, c.carol, c.alice, c.carol, c.alice, c.bob}[n%6]
		e, err := whisper.Seal(context.Background(), client.Compose(of, fmt.Appendf(nil, "letter %d", n), from, time.Unix(946684800, 0)))
		if err != nil {
			panic(err)
		}
		if n < 48 {
			c.letters = append(c.letters, e)
		} else {
			c.last = append(c.last, e)
		}
		openings[opening{e.Message(), of.ID()}] = client.Unopened{Envelope: e}.Open([]client.Chat{of})
		for _, other := range []client.Chat{c.decoy, c.late} {
			if _, known := openings[opening{e.Message(), other.ID()}]; !known {
				openings[opening{e.Message(), other.ID()}] = nil
			}
		}
	}
	return c
})

// opener opens what is on the network, each message once.
type opener struct {
	opened   map[opening]*client.Preview
	messages map[*whisper.Envelope]common.Hash
}

type opening struct {
	message common.Hash
	chat    client.ChatID
}

// messageIn is what Message says of an envelope, which costs a hash each time.
func (w *opener) messageIn(e *whisper.Envelope) common.Hash {
	m, ok := w.messages[e]
	if !ok {
		m = e.Message()
		w.messages[e] = m
	}
	return m
}

// chatIDs are those of the cast's chats by their names. They, and openings, are not changed
// once there is a cast.
var chatIDs = make(map[string]client.ChatID)

// openings are what is inside messages that several histories use.
var openings = make(map[opening]*client.Preview)

// open is client.Unopened.Open, which takes a signature's time, once for a message.
func (w *opener) open(e *whisper.Envelope, chats []client.Chat) *client.Preview {
	for at := range chats {
		if chats[at].Topic != e.Topic {
			continue
		}
		key := opening{w.messageIn(e), chatIDs[chats[at].Name]}
		p, known := openings[key]
		if !known {
			p, known = w.opened[key]
		}
		if !known {
			p = client.Unopened{Envelope: e}.Open(chats[at : at+1])
			w.opened[key] = p
		}
		if p != nil {
			copied := *p
			copied.Hash = e.Hash()
			return &copied
		}
	}
	return nil
}
