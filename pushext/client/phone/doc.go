// Package phone is the SDK for apps that are not written in Go. It offers the device, its
// chats and its inbox behind a few names, with nothing but strings and bytes. gomobile turns
// these into Kotlin, Java, Swift and Objective-C, and cmd/libwhisperpush into C.
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
// The platform's notifications are a Screen, which the app implements. It shows, replaces and
// removes what the inbox decides, and a message counts as shown when the Screen has said so.
// Everything else is a call, with an object of arguments and an answer, both JSON (Calls
// lists them, docs/bindings.md shows each). A call ends after the settings' patience in
// seconds, so that it is over before the platform ends the process; what it did until then is
// kept. Calls may be made from any thread; those that ask the server take turns.
//
// # Files
//
// Everything is in one directory, which only the app may read. An app and its notification
// extension may have it open at the same time, each in its own process.
package phone
