// Package door serves the protocol of devices over HTTPS, for those that have no devp2p: a
// browser, a phone's notification extension, a program in another language. It carries the
// same envelopes to the same rooms (Rooms) as packets do, and knows nothing of what is in
// them: each request is a Caller, which push and mail answer as they answer a peer.
//
//	GET  /.well-known/whisperpush   the server's signed offer: an envelope
//	POST /whisperpush/request       one request; the answer is streamed
//	POST /whisperpush/ring          one request; the answer goes on with the rings of its registration
//	POST /whisperpush/post          one envelope for the network
//
// The body of a request is one envelope, of a length that is told before. An answer is a row
// of frames, each a byte, a length of four bytes (big-endian) and what it says:
//
//	127  an envelope or a list of them, as in a packet 127
//	125  the end mark of a request for mail, as in a packet 125
//	  0  nothing: the stream stands
//
// An answer that ends as HTTP says it ends is whole; one that breaks off is not.
//
// # Strangers
//
// Whoever reaches the door is a stranger, and is counted by the network they come from, as
// everywhere (whisper.Source). Connections, answers under way and rings are seats; when there
// are no more of a kind, one gives way to the newcomer: of the network with the most, the one
// that is there for longest, and not one of a registration that proved an address while
// strangers have more than their quarter. Everything has a length and a time that is known
// before anything is allocated (Limits, and the constants of limits.go). A body that is
// compressed, or of a length that is not told, is refused, so there is nothing to expand and
// nothing about which a proxy and this server could disagree.
//
// The door keeps no cookie and asks for no credentials, so any origin may use it (CORS).
package door
