// Package simulate computes what notifications cost phones: wake-ups, fetches, bytes and
// seconds of radio, for a million devices in virtual time.
//
// A seed determines a district of people (traffic.go): their devices, chats and groups,
// what is written there, when they look at the screen, and when a device cannot be reached.
// A scenario says what the devices register and how they are reached (scenario.go). The
// server's own index of topics finds whom each message wakes, the dispatcher's own
// decisions (dispatch.Course) say when, and the inbox's own table says what is shown. Only
// the phone is a model (phone.go); its constants are in model.go with their reasons.
// Districts are independent of each other, so that the result depends on the seed and not
// on how many cores compute it (run.go). report.go makes a table and a verdict, and plot.go
// a plot.
package simulate
