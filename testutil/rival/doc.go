// Package rival runs XMTP's notification server (github.com/xmtp/example-notification-server-go)
// beside ours, for a benchmark. It has the shape of our nodes on PostgreSQL: a stream of
// envelopes comes in, their topics are looked up among subscriptions in the database, and a
// request goes out for each device that listens.
//
// The server is not part of this tree and is not available from the Go module proxy: the user
// provides a checkout, which [Build] compiles. The nested module testutil/rival/node has as much
// as the server uses of the network that it listens to.
package rival
