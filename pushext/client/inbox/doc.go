// Package inbox keeps what the user of an app has of their messages on one device: the
// messages and chats, what was read, which notifications the platform shows, and how much
// is unread. It builds on a client.Device, keeps everything in one file, and decides what
// is shown. The app shows, replaces and removes notifications when the inbox says so
// (App), and tells the inbox what the user does.
//
//	device, err := client.Open(ctx, client.Config{…, Complete: true})
//	messages, err := inbox.Open(ctx, inbox.Config{File: "inbox", Device: device, App: app})
//	err = messages.History(ctx)             // at the app's start
//	err = messages.Receive(ctx, body)       // for every push
//	err = messages.Foreground(ctx)          // what the user does
//	err = messages.ChatOpened(ctx, chat)
//	go messages.Run(ctx)                    // tells others what was read and written
//
// docs/sdk.md shows an app that uses it.
//
// # What is shown
//
// A notification is shown exactly for messages that are not read, not from the user, not
// muted, not blocked, and in a chat that the user has. The table at Decide says how it
// appears. A message counts as shown when App.Show has returned nil; only then is the
// device told (client.Device.Shown). What a crash leaves in between is shown at the next
// start: once if the platform can list its notifications (Lister), otherwise again under
// the same ID, in the same place.
//
// # What others are told
//
// The server is told what was read here (client.Device.Seen). It cancels pending pushes
// and has the other devices of the group remove their notifications. With a sync chat,
// the inbox also sends it there, end-to-end encrypted, with mutes and blocks. That lasts
// as long as the mailserver's archive, and reaches devices that were off, that were
// restored from a backup, or that a dismissal did not reach. Until others were told, it
// stays in the file.
//
// # What is kept
//
// The inbox keeps one file, see journal.go, bounded by the package's limits. It holds
// messages in clear, so it belongs where only the app can read it. Every change is on the
// disk before it counts. A damaged part is skipped and kept aside; what it held comes
// again from the mailserver, or is shown once more.
package inbox
