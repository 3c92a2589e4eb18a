// Package mailserver keeps the envelopes of the network and gives them to those
// who ask for them later.
//
// # The way in
//
// A whisper.Node hands every envelope it accepts to the Archive, which commits
// them in groups with one fsync each and numbers them: the receive sequence. What
// was committed can be read by sent time, topic, bloom filter and hash (Query,
// ByHash) and followed as a log (Follow); the push server is such a follower.
// An Archive needs no Server, and neither knows of push.
//
// # The way out
//
// A whisper.Node hands every packet 126 to Server.HandleRequest, which never
// blocks: the packet waits at the server's desk, or is refused there (see package
// desk). In its turn it is opened with the mailserver's keys, must be signed, becomes
// a Query, and what that finds is sent in packets 127, followed by a packet 125 if
// the form of the request has one (see package mailwire for the bytes). A peer that
// reads slowly holds one bounded page and no more.
//
// # Bounds
//
// Whatever a stranger can make grow is bounded by Limits. A request that exceeds
// one is cut short and continued by its cursor, or refused in words if its form
// can carry them; a classic request can only be cut short or dropped, and both
// are counted.
package mailserver
