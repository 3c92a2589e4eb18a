// Package simulate computes what notifications cost phones: wake-ups, fetches, bytes and
// seconds of radio, for a million devices in virtual time.
//
// A district of people is drawn from a seed (traffic.go): their devices, chats and groups,
// what is written there, when they look at the screen and when a device cannot be reached.
// A scenario says what the devices register and how they are reached (scenario.go). The
// server's own index of topics finds who is woken for each message, the dispatcher's own
// decisions (dispatch.Course) say when, and the inbox's own table what is shown of it; only
// the phone is a model (phone.go), whose constants are in model.go with their reasons.
// Districts are independent of each other, so that the result depends on the seed and
// not on how many cores work on it (run.go). report.go makes a table, a plot and a verdict.
package simulate
