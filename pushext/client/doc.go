// Package client is the device's side of push. It registers with a mailserver, opens
// the pushes that arrive, fetches from that mailserver exactly the envelopes that a
// push names, and turns them into previews. It opens no database and brings no server
// code into an app.
//
// # In an app
//
//	device, err := client.Open(ctx, client.Config{
//		Server:  "enode://…@mail.example.org:30303",
//		PushKey: "04…",                        // both are printed by the mailserver when it starts
//		Store:   client.FileStore("push.json"), // or the platform's key chain
//		Chats:   []client.Chat{client.PasswordChat("family", topic, password)},
//	})
//	defer device.Close()
//
//	// Once, and whenever the platform hands out a new token:
//	err = device.Register(ctx, client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(token)}}})
//
//	// Whenever a push arrives:
//	body, err := client.FromFCM(data)
//	event, err := device.Receive(ctx, body)
//	for _, p := range event.Previews {
//		notify(p.Hash, p.Chat, p.Sender, p.Text, p.Sent)
//	}
//	for _, hash := range event.Dismissed {
//		removeNotification(hash)
//	}
//	err = device.Shown(ctx, event.Hashes()...)
//
//	// At the app's start, for what no push announced:
//	event, err = device.History(ctx)
//
// The first push after Register is the server's challenge. Receive answers it, and the
// registration is active. Every later push names all waiting envelopes, so one push
// makes up for a lost one. When the sequence has a gap, or more envelopes wait than a
// push can name, Receive asks the mailserver for everything since its cursor.
//
// # What is shown, and only once
//
// The device gives up nothing before the app confirms with Shown that it has it. An
// event that comes with an error holds what arrived until then. The device writes what
// it is about to fetch to its Store first, because the server takes the fetch for the
// receipt: after a crash, the first Receive or History gives it again. A message is
// identified by what was encrypted (Preview.Message), so after Shown it is not given
// again, whatever envelope it comes in and however it comes. Before Shown it comes
// under the same hash, so an app that names its notifications by Preview.Hash simply
// replaces one.
//
// # Connection
//
// A Device connects on demand, as a light node that wants no traffic, with a node key
// made for that connection. It hangs up on Sleep and Close, which end calls under way
// at once. Register, Receive and the others may be called at any time and connect by
// themselves. They try as long as their context allows, or four times if it has no
// deadline. GaveUpError tells what was in the way.
//
// Config.Server may be the https URL of the server's door instead. Then there is no
// devp2p: requests go over HTTPS, and Listen keeps a stream open.
//
// An app that is in the foreground, or on a device without any push service, may stay
// connected. With DirectRoute among its routes, each wake-up reaches Listen over the
// device's own link.
//
// # On a phone
//
// The package builds with and without cgo. On Android, build it with cgo, as gomobile
// does, if Config.Server names a host: without cgo, Go looks for name servers where
// Android keeps none.
//
// # What is kept
//
// The device keeps for each mailserver, identified by its push key: the registration
// key, which is the account and is never used with another server; the key that
// wake-ups are sealed to; the newest sequence numbers; what waits for Shown; and marks
// of the newest messages shown. It is one JSON text, which is read from the Store and
// handed back to it around every change. Several processes may share a FileStore, or
// any Store with a lock (SharedStore).
package client
