// Package servers chooses mailservers, and moves from one to the next without a gap and
// without showing anything twice.
//
// A List keeps the offers that client.Discover finds, within limits, and ranks them by what
// the app needs, what they cost and how the servers answered. The app, or its user, picks
// one, opens a client.Device for it and adds it to a Several, which presents the devices at
// one or more mailservers to the inbox as if they were one. A Move registers with the next
// server while the former still wakes the device. The former ends only when the next one
// wakes the device and its history has been read. Check asks each server for a sign of life,
// and sends a message of its own to each server through another one. From that, a Watch says
// which one is dead or withholds messages. What a single server has signed may also prove
// that it withholds (client.Device.Evidence).
//
// Nothing here dials a server on its own that the app has not chosen: an offer is only
// somebody's word.
package servers
