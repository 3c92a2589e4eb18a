// Package dispatch decides when a device is woken and by which provider, and obeys the
// provider's verdict. It keeps nothing on disk: the outbox remembers what a device is to
// be woken for.
//
// Everything to be sent to one device is a job, which is in one of four states:
//
//	idle     nothing to do; kept for its spent budget, or for the ladder's next step
//	queued   in the queue of a lane, or of the lobby, where its lane is looked up
//	waiting  for a timer: a budget, a pause, Jitter and Batch; or for a reserved number
//	flying   an attempt is in flight
//
// These events move it:
//
//	rung             idle → queued, or waiting for its budget or its time to leave;
//	                 flying → rung again when it has landed;
//	                 waiting for a number, or with a dismissal alone → queued
//	turn in a lane   queued → flying
//	accepted         flying → idle, or rung again
//	to be retried    flying → waiting, or queued again in a lane that is paused
//	message is bad   flying → queued for the next route, or idle
//	address is dead  flying → queued for the next route, waiting until it is tried
//	                 again, or the registration ends
//	timer            waiting → queued
//	no fetch came    any but flying → queued for the next route; flying → when it has landed
//
// schedule.go queues jobs and gives lanes their turns; lane.go, share.go, site.go and
// pace.go say what a lane may do at once; flight.go makes the attempt and settle.go obeys
// its verdict. ladder.go climbs to the next route, breaker.go pauses lanes, and gate.go
// doubts addresses that are called dead.
package dispatch
