// Package phone is the SDK for apps that are not written in Go: the device, its chats and
// its inbox behind a few names, with nothing but strings and bytes, which gomobile makes
// into Kotlin, Java, Swift and Objective-C, and cmd/libwhisperpush into C.
//
//	phone, err := phone.Open(settings, screen) // JSON; the platform's notifications
//	answer, err := phone.Call("register", `{"routes":[{"provider":"fcm","address":"TOKEN"}]}`)
//
//	// In FirebaseMessagingService.onMessageReceived, UNNotificationServiceExtension.didReceive,
//	// or the receiver of UnifiedPush:
//	answer, err = phone.Receive("fcm", data) // what it shows goes to the screen, and is in the answer
//
// # How a call goes
//
// The platform's notifications are a Screen, which the app implements: it shows, replaces
// and removes what the inbox decides, and a message counts as shown when it has said so. All
// else are calls, each with an object of arguments and an answer, both JSON (Calls lists
// them, docs/bindings.md shows each). A call ends after Settings.Patience seconds, so that it is over
// before the platform ends the process, and what it did until then is kept. Calls may be made
// from any thread; those that ask the server take turns.
//
// # Files
//
// Everything lies in one directory, which only the app may read. An app and its
// notification extension may have it open at the same time, each in a process of its own.
package phone
