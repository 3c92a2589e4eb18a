// Package pushext says what a push provider, an archive and a device's link are to
// the push server. It runs nothing.
//
// A Provider makes one attempt to wake one device through one push service, and
// returns a Verdict; what else it can say of itself is an optional interface: Laner,
// Canonicalizer, Collapser, Paced, Quieter, Linked. A Log is the archive as the server
// follows it, and a Link a connection that a device keeps open itself. Providers import this package
// and nothing of the server, which is package pushserver; a device's side is package
// client, and what both say to each other is package pushwire.
package pushext
