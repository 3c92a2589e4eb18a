// Package mailserver answers requests for envelopes that the network carried
// earlier. Package archive, below it, stores them.
//
// A whisper.Node hands every packet 126 to Server.HandleRequest, which never
// blocks: the packet waits at the server's desk, or is refused there (see package
// desk). When its turn comes, the server opens it with its keys, checks that it is
// signed and makes an archive.Query from it. The server sends the envelopes that
// it finds in packets 127, followed by a packet 125 if the form of the request has
// one (see package mailwire for the bytes). A peer that reads slowly holds at most
// one bounded page.
//
// # Bounds
//
// Limits bounds everything that a stranger can make grow. A request that exceeds a
// limit is cut short and continued by its cursor, or refused with a text if its
// form can carry one. A classic request can only be cut short or dropped, and both
// are counted.
package mailserver
