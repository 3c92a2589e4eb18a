// Package client is the device's side of push: it registers with a mailserver,
// opens the pushes that arrive, fetches exactly the envelopes they tell of from
// that mailserver, and turns them into previews. It brings no database and no
// server code into an app.
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
//	err = device.Register(ctx, client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: token}}})
//
//	// Whenever a push arrives:
//	event, err := device.Receive(ctx, body)
//	for _, p := range event.Previews {
//		notify(p.Chat, p.Sender, p.Text, p.Sent)
//	}
//	for _, hash := range event.Dismissed {
//		removeNotification(hash)
//	}
//
// The first push after Register is the server's challenge; Receive answers it,
// and the registration is active. Every later push names all envelopes that
// wait, so one push repairs a lost one; when the sequence has a gap, or more
// waits than a push can name, Receive asks the mailserver for everything since
// its cursor.
//
// # Connection
//
// A Device connects on demand with a node key made for that connection, as a
// light node that wants no traffic, and hangs up on Sleep and Close. Register,
// Receive and the others may be called at any time and connect by themselves.
//
// An app that is in the foreground, or on a device without any push service, may
// stay connected: with DirectRoute among its routes, Listen is handed each
// wake-up over the device's own link.
//
// # What is kept
//
// The registration key, which is the account and is never used with another
// server, the key that wake-ups are sealed to, the newest sequence numbers, and
// the hashes of the newest envelopes shown. It is one JSON text, handed to the
// Store after every change.
package client
