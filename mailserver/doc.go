// Package mailserver gives the envelopes of the network to those who ask for them
// later. Package archive, below it, keeps them.
//
// A whisper.Node hands every packet 126 to Server.HandleRequest, which never
// blocks: the packet waits at the server's desk, or is refused there (see package
// desk). In its turn it is opened with the mailserver's keys, must be signed, becomes
// an archive.Query, and what that finds is sent in packets 127, followed by a packet
// 125 if the form of the request has one (see package mailwire for the bytes). A peer
// that reads slowly holds one bounded page and no more.
//
// # Bounds
//
// Whatever a stranger can make grow is bounded by Limits. A request that exceeds
// one is cut short and continued by its cursor, or refused in words if its form
// can carry them; a classic request can only be cut short or dropped, and both
// are counted.
package mailserver
