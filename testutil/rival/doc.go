// Package rival runs XMTP's notification server (github.com/xmtp/example-notification-server-go)
// beside ours, for a benchmark: it has the shape of our nodes on PostgreSQL. A stream of
// envelopes comes in, their topics are looked up among subscriptions in the database, and a
// request goes out for each device that listens.
//
// The server is not part of this tree and cannot be had from the Go module proxy: somebody
// brings a checkout, which [Build] compiles. Of the network it listens to there is as much as
// it uses, in the nested module testutil/rival/node.
package rival
