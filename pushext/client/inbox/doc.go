// Package inbox is what the user of an app has of their messages on one device: the
// messages and chats, what was read, which notifications the platform shows, and how much
// is unread. It stands on a client.Device, keeps all of it in one file, and decides what
// is shown. The app shows, replaces and removes notifications when it is told to (App),
// and tells the inbox what the user does.
//
//	device, err := client.Open(ctx, client.Config{…, Complete: true})
//	messages, err := inbox.Open(ctx, inbox.Config{File: "inbox", Device: device, App: app})
//	err = messages.History(ctx)             // at the app's start
//	err = messages.Receive(ctx, body)       // for every push
//	err = messages.Foreground(ctx)          // what the user does
//	err = messages.ChatOpened(ctx, chat)
//	go messages.Run(ctx)                    // tells others what was read and written
//
// docs/sdk.md has an app of it.
//
// # What is shown
//
// A notification is shown exactly for what is not read, not of the user themselves,
// not muted, not blocked, and in a chat that the user has. How it appears is the table at
// Attention and Manner. A message counts as shown when App.Show has returned nil; only
// then the device is told (client.Device.Shown). What a crash leaves in between is shown
// at the next start: once if the platform can tell what it has (Lister), else again under
// the same ID, in its own place.
//
// # What others are told
//
// What was read here is told to the server (client.Device.Seen), which cancels what is
// pending and has the other devices of the group remove their notifications. With a sync
// chat it is also put there, end-to-end encrypted, with mutes and blocks: that lasts as
// long as the mailserver's archive, and reaches devices that were off, restored from a
// backup, or that a dismissal did not reach. Until others were told, it is in the file.
//
// # What is kept
//
// One file, see journal.go, of what the package's limits allow: messages in clear, so
// it belongs where only the app can read it. Every change is on the disk before it counts.
// A damaged part is passed over and kept aside; what it held comes again from the
// mailserver, or is shown once more.
package inbox
