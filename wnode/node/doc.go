// Package node builds a node from its settings, starts it in the one order that is right, and stops it in the opposite
// order. It is the only package that knows all others.
//
// Start first checks everything that the settings alone decide. Then it builds the parts in the order that node.go
// shows: the data directory's lock, keys, Whisper node, archive and push server, mailserver, devp2p server, door,
// JSON-RPC, status page, metrics. Serve runs a node until its context ends, for a terminal or for systemd.
//
// Packet 126 reaches requests.go, which tells push requests from mail requests by their topic. pushlog.go shows the
// archive to the push server. providers.go lists the push providers: adding one is a line there. What the node and its
// doctor both check in settings, keys and files is exported, so that both say the same.
//
// In the data directory:
//
//	LOCK            held while a node runs
//	nodekey         the node's identity, hex, 0600
//	nodes/          peers seen, to be dialled again
//	archive/        the mailserver's envelopes
//	pushkey         the key registrations are encrypted to, hex, 0600
//	pushkey.former  the push keys before it, JSON, 0600; only if there were any
//	push.disk.key   the key that seals tokens at rest, hex, 0600
//	push/           registrations and the outbox
//	push.paused     the providers that the operator has paused, one name per line
//	devices/        devices of local programs
//	devices.key     the key that seals these, hex, 0600
//	whisperpush.ipc the JSON-RPC socket
package node
