// Package node builds a node from its settings, starts it in the one order that is right, and stops it in the opposite
// order. It is the only package that knows all others.
//
// Start builds the parts in the order that node.go shows, after what can be told of the settings alone: the data
// directory's lock, keys, archive, mailserver, push server, Whisper node, devp2p server, JSON-RPC, metrics. Serve runs
// a node until its context ends, for a terminal or for systemd.
//
// Packet 126 reaches requests.go, which tells push requests from mail requests by their topic. pushlog.go shows
// the archive to the push server. providers.go lists the push providers: adding one is a line there. What the node
// and its doctor both ask of settings, keys and files is exported, so that both say the same.
//
// In the data directory:
//
//	LOCK            held while a node runs
//	nodekey         the node's identity, hex, 0600
//	nodes/          peers seen, to be dialled again
//	archive/        the mailserver's envelopes
//	pushkey.former  the push keys before it, JSON, 0600; only if there were any
//	pushkey         the key registrations are encrypted to, hex, 0600
//	push.disk.key   the key that seals tokens at rest, hex, 0600
//	push/           registrations and the outbox
//	whisperpush.ipc the JSON-RPC socket
package node
