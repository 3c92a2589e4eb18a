// Package door serves the protocol of devices over HTTPS, for those without devp2p: a
// browser, a phone's notification extension, a program in another language. It carries the
// same envelopes to the same rooms (Rooms) as packets do, and knows nothing of their
// contents: each request is a Caller, which push and mail answer as they answer a peer.
//
//	GET  /.well-known/whisperpush   the server's signed offer: an envelope
//	POST /whisperpush/request       one request; the answer is streamed
//	POST /whisperpush/ring          one request; the answer goes on with the rings of its registration
//	POST /whisperpush/post          one envelope for the network
//
// The body of a request is one envelope, whose length is announced. An answer is a series of
// frames, each a byte, a length of four bytes (big-endian) and the content:
//
//	127  an envelope or a list of them, as in a packet 127
//	125  the end mark of a request for mail, as in a packet 125
//	  0  nothing: the stream is still up
//
// An answer that ends as HTTP requires is complete; one that breaks off is not.
//
// # Strangers
//
// Everyone who reaches the door is a stranger, and is counted by the network they come from,
// as everywhere (whisper.Source). Connections, answers under way and rings are seats. When
// all seats of a kind are taken, one gives way to the newcomer: the oldest one of the network
// that has the most. Seats of registrations that proved an address do not give way while
// strangers have more than a quarter of the seats. Everything has a length and a time limit
// that is known before anything is allocated (Limits, and the constants of limits.go). A body
// that is compressed, or whose length is not announced, is refused: so there is nothing to
// decompress, and no length that a proxy and this server could read differently.
//
// The door keeps no cookies and asks for no credentials, so any origin may use it (CORS).
package door
