package dispatch

import (
	"fmt"
	"slices"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/spacing"
	"whisperpush/pushext/pushwire"
)

// Rules are the settings that Courses share. They do not change.
type Rules struct {
	cfg    Delivery
	routes []Rule
}

// Rule describes the push service that a route leads to.
type Rule struct {
	Provider    string         // its name in Delivery's settings
	Linked      bool           // the route is the device's own link, which is there or not
	Collapsible pushext.Budget // of a pushext.Collapser
	Quiet       pushext.Budget // of a pushext.Quieter
}

// NewRules returns the rules for devices with these routes, the preferred one first. The
// error names a setting that is wrong, or how many routes there may be.
func NewRules(cfg Delivery, routes ...Rule) (*Rules, error) {
	cfg, err := cfg.WithDefaults()
	if err != nil {
		return nil, err
	}
	if len(routes) < 1 || len(routes) > pushwire.MaxRoutes {
		return nil, fmt.Errorf("%d routes, a device has 1 to %d", len(routes), pushwire.MaxRoutes)
	}
	return &Rules{cfg, routes}, nil
}

func (r *Rules) patience(route int) time.Duration {
	if r.routes[route].Linked {
		return r.cfg.LinkDelay
	}
	return r.cfg.LadderDelay
}

// Course makes the decisions of the Dispatcher and the outbox for one device, in its
// caller's time, without disk, timers, locks or attempts. It serves to compute what
// wake-ups cost. Where the dispatcher has a function or a table for a decision, Course
// uses it; TestCourse compares the rest with the dispatcher, push by push. It assumes
// that push services accept everything, that a link is there or not, that nothing
// expires, and that the device fetches in the order in which envelopes matched.
type Course struct {
	rules *Rules
	send  func(now time.Time, p Push) (there bool)

	// As in a device of the outbox. Matches are counted from 1.
	matched, covered, gone, seen int
	strikes                      int
	climb                        int
	collapsed                    spacing.Bucket

	// As in a job.
	waits    bool // until due; else it is idle
	due      time.Time
	cause    string
	route    int
	blurred  bool
	repeat   bool
	accepted bool
	failed   int
	upTo     int // of the latest attempt
	ladder   time.Time
	spent    [pushwire.MaxRoutes]spacing.Bucket
	quiet    [pushwire.MaxRoutes]spacing.Bucket
	dismiss  bool
}

// Push is what a device is sent.
type Push struct {
	Route      int  // which of the rules'
	UpTo       int  // it names all matches up to this one that were not fetched
	Dismiss    bool // it names what was seen elsewhere, and is not urgent
	Unreplaced bool // it has no collapse id
}

// NewCourse returns the course of a device without matches. send is called for each
// push, and says whether the device's link is there if the route is one.
func NewCourse(rules *Rules, send func(now time.Time, p Push) (there bool)) Course {
	return Course{rules: rules, send: send}
}

// Match says that an envelope matched.
func (c *Course) Match(now time.Time) {
	c.matched++
	c.ring(now)
}

// Fetched is the receipt for all matches up to one.
func (c *Course) Fetched(now time.Time, upTo int) {
	c.gone = max(c.gone, upTo)
	c.alive(now)
}

// Seen says that the device has read all matches up to one.
func (c *Course) Seen(now time.Time, upTo int) {
	c.gone, c.seen = max(c.gone, upTo), max(c.seen, upTo)
	c.alive(now)
}

// SeenElsewhere says that another device of the same group has read all matches up to
// one. What this one may be showing of them is dismissed.
func (c *Course) SeenElsewhere(now time.Time, upTo int) {
	showing := min(upTo, max(c.covered, c.gone)) > c.seen
	c.gone, c.seen = max(c.gone, upTo), max(c.seen, upTo)
	if !showing {
		return
	}
	c.dismiss = true
	if !c.waits {
		c.enqueue(now)
	}
}

// Reach says that the device has come through a link of its own.
func (c *Course) Reach(now time.Time) {
	c.anew()
	c.enqueue(now)
}

// Next is when Advance is to be called, false if never.
func (c *Course) Next() (time.Time, bool) {
	switch {
	case c.waits && (c.ladder.IsZero() || !c.ladder.Before(c.due)):
		return c.due, true
	case !c.ladder.IsZero():
		return c.ladder, true
	}
	return time.Time{}, false
}

// Advance does what is due at now.
func (c *Course) Advance(now time.Time) {
	if c.waits && !c.due.After(now) {
		c.enqueue(now)
	}
	if !c.ladder.IsZero() && !c.ladder.After(now) {
		c.ladder = time.Time{}
		c.stepTo(c.route+1, now)
	}
}

func (c *Course) unread() int  { return c.matched - c.gone }
func (c *Course) pending() int { return c.matched - max(c.covered, c.gone) }

// ring is Dispatcher.Ring.
func (c *Course) ring(now time.Time) {
	switch {
	case c.waits && c.cause != causeQuiet:
		return
	case c.waits:
		c.cause = ""
	}
	if c.ladder.IsZero() {
		c.route = 0
	}
	c.enqueue(now)
}

// alive is outbox.alive, with Dispatcher.Calm and Climb.
func (c *Course) alive(now time.Time) {
	c.strikes = 0
	if c.unread() == 0 {
		c.climb = 0
	}
	c.ladder, c.repeat = time.Time{}, false
	switch {
	case !c.waits:
		c.route = 0
	case c.cause != causeBlur:
		c.failed = 0
		c.enqueue(now)
	}
	switch {
	case c.pending() > 0:
		c.ring(now)
	case c.climb > 0 && !c.waits && c.ladder.IsZero():
		c.route = c.climb - 1
		c.ladder = now.Add(c.rules.patience(c.route))
	}
}

func (c *Course) anew() {
	c.ladder, c.repeat, c.blurred, c.route, c.failed = time.Time{}, true, false, 0, 0
}

func (c *Course) wait(until time.Time, cause string) { c.waits, c.due, c.cause = true, until, cause }

func (c *Course) stepTo(route int, now time.Time) {
	c.ladder, c.route, c.repeat, c.failed = time.Time{}, route, true, 0
	c.enqueue(now)
}

// enqueue sends what there is, now or as soon as it may be sent.
func (c *Course) enqueue(now time.Time) {
	if c.route >= len(c.rules.routes) {
		c.route = 0 // as keyOf has it
	}
	rule := &c.rules.routes[c.route]
	cause, until := c.rules.cfg.departure(now, &c.spent[c.route], c.rules.cfg.budget(rule.Provider), !c.blurred && !rule.Linked)
	c.blurred = c.blurred || !rule.Linked && cause != causeBudget
	if cause != "" {
		c.wait(until, cause)
		return
	}
	c.waits = false
	kind, until := c.load(now, rule)
	switch {
	case !until.IsZero():
		c.wait(until, causeQuiet)
	case kind == 0:
		c.repeat, c.failed, c.cause = false, 0, ""
		c.finish(now)
	default:
		c.fly(now, rule, kind)
	}
}

// load returns what to send, nothing if kind is 0, and until when it has to wait.
func (c *Course) load(now time.Time, rule *Rule) (kind pushwire.Kind, until time.Time) {
	silenced := c.rules.cfg.SilentAfter > 0 && c.strikes >= c.rules.cfg.SilentAfter
	if c.unread() > 0 && (c.pending() > 0 || c.repeat) && !silenced {
		return pushwire.Messages, time.Time{}
	}
	if !c.dismiss {
		return 0, time.Time{}
	}
	pause := c.quiet[c.route].Wait(now, rule.Quiet)
	if c.unread() > 0 {
		pause = max(pause, rule.Quiet.Every)
	}
	if pause > 0 {
		return pushwire.Dismiss, now.Add(pause)
	}
	return pushwire.Dismiss, time.Time{}
}

// fetching is the outbox's constant: a device with fewer unfetched wake-ups is taken to
// be about to fetch.
const fetching = 5

// fly sends, and goes on as the dispatcher's table says.
func (c *Course) fly(now time.Time, rule *Rule, kind pushwire.Kind) {
	last := c.route == len(c.rules.routes)-1
	p := Push{Route: c.route, UpTo: c.matched, Dismiss: kind == pushwire.Dismiss}
	p.Unreplaced = !p.Dismiss && c.strikes < fetching && c.collapsed.Wait(now, rule.Collapsible) > 0
	again := c.pending() == 0
	class := pushext.Delivered
	if !c.send(now, p) && rule.Linked {
		class = pushext.Absent
	}
	if class == pushext.Delivered && kind == pushwire.Messages {
		c.took(now, rule, p, last)
	}
	if class == pushext.Delivered && p.Dismiss && rule.Quiet.Every > 0 {
		c.quiet[c.route].Take(now, rule.Quiet)
	}
	if p.Dismiss {
		c.dismiss = c.dismiss && class == pushext.Absent && !last
	} else {
		if c.upTo != p.UpTo {
			c.accepted = again
		}
		c.upTo = p.UpTo
		if c.ladder.IsZero() && !last && class == pushext.Delivered {
			c.ladder = now.Add(c.rules.patience(c.route))
		}
	}
	to, what := landing{kind: kind, class: class, last: last, only: c.route == 0, failed: c.failed, accepted: c.accepted, again: c.dismiss}.next()
	switch what {
	case took:
		c.spent[c.route].Take(now, c.rules.cfg.budget(rule.Provider))
		c.failed, c.cause, c.repeat, c.blurred = 0, "", false, false
		c.accepted = c.accepted || kind == pushwire.Messages
	case settled:
		c.repeat = false
	}
	c.goOn(to, now)
}

// took records an accepted wake-up as the outbox does.
func (c *Course) took(now time.Time, rule *Rule, p Push, last bool) {
	c.climb = 0
	if !last {
		c.climb = c.route + 1
	}
	if !p.Unreplaced && rule.Collapsible.Every > 0 && c.collapsed.Wait(now, rule.Collapsible) == 0 {
		c.collapsed.Take(now, rule.Collapsible)
	}
	if p.UpTo > c.covered {
		c.covered = p.UpTo
		c.strikes++
	}
}

// goOn does what a landing decided.
func (c *Course) goOn(to move, now time.Time) {
	switch to {
	case queue:
		c.enqueue(now)
	case pass:
		c.route++
		c.enqueue(now)
	case awaitUp:
		c.wait(now.Add(absentPause), causeAbsent)
	default: // the others follow verdicts that a course's services never give
		c.finish(now)
	}
}

// finish lets the device rest. A job without a ladder and with its whole budget is
// forgotten, and the next one begins at the first route.
func (c *Course) finish(now time.Time) {
	c.waits, c.blurred = false, false
	if c.ladder.IsZero() && !slices.ContainsFunc(c.spent[:], func(b spacing.Bucket) bool { return now.Before(b.Full) }) {
		c.route, c.upTo, c.failed = 0, 0, 0
	}
}
