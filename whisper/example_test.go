package whisper_test

import (
	"context"
	"fmt"

	"whisperpush/whisper"
)

// A message is sealed for those who share a key, and opened by them.
func ExampleSeal() {
	key := whisper.KeyFromPassword("our secret")
	env, err := whisper.Seal(context.Background(), whisper.Draft{
		Payload: []byte("Dinner at 7"), Topic: whisper.TopicFor("family"), Key: key, PoW: whisper.DefaultMinPoW,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	message, err := env.OpenSymmetric(key)
	fmt.Printf("%s on topic %v: %s, %v\n", env.Topic, env.Topic == whisper.TopicFor("family"), message.Payload, err)
	// Output: 0x999ca216 on topic true: Dinner at 7, <nil>
}

// A node relays what it is given, and hands what can be opened to subscriptions.
// Its Protocol goes into a p2p.Server.
func ExampleNode() {
	node, err := whisper.NewNode(whisper.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := node.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer node.Stop()
	ctx, key := context.Background(), whisper.KeyFromPassword("our secret")
	family, err := node.Subscribe(whisper.Filter{Topics: []whisper.Topic{whisper.TopicFor("family")}, Key: key}, 8)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer family.Close()
	env, err := whisper.Seal(ctx, whisper.Draft{Payload: []byte("Dinner at 7"), Topic: whisper.TopicFor("family"), Key: key})
	if err == nil {
		err = node.Post(ctx, env)
	}
	fmt.Printf("%v %s\n", err, (<-family.C()).Payload)
	// Output: <nil> Dinner at 7
}
