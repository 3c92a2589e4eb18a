// Package pushext defines the interfaces between the push server and its providers,
// its archive and the links of devices. It runs nothing.
//
// A Provider makes one attempt to wake one device through one push service, and
// returns a Verdict. It states further abilities by optional interfaces: Laner,
// Canonicalizer, Collapser, Paced, Quieter, Linked. A Log is the archive as the
// server follows it, and a Link is a connection that a device keeps open itself.
// Providers import this package and nothing of the server, which is package
// pushserver. The device's side is package client, and package pushwire has the
// messages between the two.
package pushext
