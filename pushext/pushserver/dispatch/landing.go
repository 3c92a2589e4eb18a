package dispatch

import (
	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// landing is all that decides how a job goes on when an attempt has ended. What follows
// from it is a table, from top to bottom; "else" goes on to onward:
//
//	in flight: its device came by a link     restart, whatever the verdict
//	TokenDead that is believed               bury
//	Delivered                                took it; onward
//	TokenDead      a further route           climb
//	               another route took it     settled; onward
//	               else                      doubt it, and all routes later
//	MessageBad     a further route           climb (a dismissal is dropped)
//	               else                      dropped; onward
//	Absent         a further route           pass
//	               a dismissal, or another
//	               route took it             settled; onward
//	               no route took it          failed; all routes later
//	               the only route            wait for its link
//	Retry, RetryAt,
//	ProviderBroken the ladder is due         failed; climb
//	               another route took it,
//	               and it failed often       given up; onward
//	               the last of several, no
//	               other took it, and it is
//	               this device alone         failed; all routes later
//	               else                      failed; the same later
//
//	onward         the ladder is due         climb
//	               rung meanwhile, or
//	               dismissals wait           queue
//	               else                      rest
//
// A dismissal has no ladder: it is repeated through the next route only if its address is
// dead or absent.
type landing struct {
	kind  pushwire.Kind // Messages or Dismiss
	class pushext.Class

	believed bool // TokenDead, and it ends the registration
	pauses   bool // the verdict stops others too
	last     bool // the registration has no further route
	only     bool // the attempt went through the first route

	failed   int  // attempts that failed in a row, this one not counted
	accepted bool // some route had accepted what the attempt carried

	// What happened while the attempt was in flight:
	again bool // the device was rung, or there is more to be dismissed
	there bool // the device came through a link of its own
	due   bool // the ladder's delay ended
}

// move is where a job goes from a landing.
type move uint8

const (
	rest     move = iota // it has nothing to do
	queue                // to the end of its lane's queue, with what there is by then
	climb                // through the next route, as a step of the ladder
	pass                 // through the next route, which is no step of the ladder
	restart              // from the first route, for everything that was not fetched
	retry                // the same again, after a pause
	retryAll             // the same after a pause, from the first route
	doubtAll             // the same after a long pause, from the first route
	awaitUp              // the same when the device has a link
	bury                 // nowhere: its registration ends
)

// mark is what is noted about what an attempt carried.
type mark uint8

const (
	unmarked mark = iota
	took          // a push service took it
	failure       // one more attempt failed
	settled       // it need not be sent again
	givenUp       // both
	dropped       // it can never be sent
)

// next decides how a job goes on. It is a pure function; Dispatcher.goOn does what it
// decides.
func (l landing) next() (move, mark) {
	switch {
	case l.believed:
		return bury, unmarked
	case l.there && l.class == pushext.Delivered:
		return restart, took
	case l.there:
		return restart, unmarked
	}
	message := l.kind == pushwire.Messages
	switch l.class {
	case pushext.Delivered:
		return l.onward(), took
	case pushext.TokenDead:
		switch {
		case !l.last:
			return climb, unmarked
		case message && l.accepted:
			return l.onward(), settled
		}
		return doubtAll, failure
	case pushext.MessageBad:
		if message && !l.last {
			return climb, unmarked
		}
		return l.onward(), dropped
	case pushext.Absent:
		switch {
		case !l.last:
			return pass, unmarked
		case !message, l.accepted:
			return l.onward(), settled
		case !l.only:
			return retryAll, failure
		}
		return awaitUp, unmarked
	}
	switch {
	case l.due && !l.last:
		return climb, failure
	case l.last && !l.only && l.accepted && l.failed+1 >= sideAttempts:
		return l.onward(), givenUp
	case l.last && !l.only && !l.accepted && !l.pauses:
		return retryAll, failure
	}
	return retry, failure
}

// onward is where a job goes when it is done with what the attempt carried.
func (l landing) onward() move {
	switch {
	case l.due && !l.last && l.kind == pushwire.Messages:
		return climb
	case l.again:
		return queue
	}
	return rest
}
