// Package genuinegorush builds and drives the genuine gorush, v1.22.0, as a subprocess:
// the server that provider gorush is tested against. Its router and its clients are a
// command of the nested module testutil/genuinegorush/server, so what they need (gin,
// gRPC, four databases and three message queues) is not a dependency of this module.
//
// gorush pushes to emulators of FCM and APNs, so a test sees both of its ends:
//
//	g := genuinegorush.Run(t, genuinegorush.Options{FCM: fcm, Sync: true})
//	provider, err := gorush.New(gorush.Config{Endpoint: g.URL, Platform: gorush.Android})
package genuinegorush
