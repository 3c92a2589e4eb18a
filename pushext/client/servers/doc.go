// Package servers chooses mailservers, and goes from one to the next without a gap and
// without showing anything twice.
//
// A List keeps the offers that client.Discover finds, within limits, and ranks them by what
// the app needs, what they cost and how they answered. The app, or its user, picks one, opens
// a client.Device for it and gives it to a Several, which stands between the inbox and the
// devices at one or more mailservers as if they were one. A Move registers with the next
// server while the former still wakes the device; only when the next one does, and its history
// has been read, does the former end. Check asks each server for a sign of life, and has a
// message of its own come through each of them by way of another; a Watch says from that
// which one is dead, or withholds; what a single server has signed may say the latter too
// (client.Device.Evidence).
//
// Nothing here dials a server by itself that the app has not chosen: an offer is only
// somebody's word.
package servers
