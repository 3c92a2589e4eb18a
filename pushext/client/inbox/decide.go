package inbox

// Attention is what the user is doing when a message arrives.
type Attention int

const (
	ScreenOff  Attention = iota // the screen is off, whichever app is in the foreground
	Background                  // the screen is on, and another app is in the foreground
	Elsewhere                   // this app is in the foreground, and the message's chat is not visible
	Watching                    // this app is in the foreground, and the message's chat is visible
)

// Manner is how a notification appears.
type Manner int

const (
	// Unseen: there is no notification.
	Unseen Manner = iota
	// Quiet: it is in the list of notifications, and nothing moves or sounds, because
	// the user was told of the message before, or it is not news.
	Quiet
	// Banner: the app shows it at the edge of what the user is looking at, without sound.
	Banner
	// HeadsUp: it appears over the other app, with the sound that the user has chosen.
	HeadsUp
	// Alarm: it lights the screen, with the sound that the user has chosen.
	Alarm
)

// Facts are what is known of a message when the inbox decides whether to show it.
type Facts struct {
	Read    bool // here or elsewhere
	Own     bool // sent by the user, from any device
	Muted   bool // its chat is
	Blocked bool // its sender is
	Lost    bool // its chat is no longer one of the user's
	News    bool // the user was never told of it
}

// Decision is what happens to a message.
type Decision struct {
	Manner Manner
	Read   bool // the message counts as read from now on
}

// Decide alone determines what is shown. The first row that applies counts:
//
//	                       screen off   background   foreground,     foreground,
//	                                                 another chat    that chat
//	read, own, muted,
//	blocked, or no chat    nothing      nothing      nothing         nothing; muted: read
//	known before           quiet        quiet        quiet           nothing, read
//	news                   alarm        heads-up     banner          nothing, read
func Decide(a Attention, f Facts) Decision {
	switch {
	case f.Read || f.Own || f.Blocked || f.Lost:
		return Decision{}
	case a == Watching:
		return Decision{Read: true}
	case f.Muted:
		return Decision{}
	case !f.News:
		return Decision{Manner: Quiet}
	}
	switch a {
	case ScreenOff:
		return Decision{Manner: Alarm}
	case Background:
		return Decision{Manner: HeadsUp}
	}
	return Decision{Manner: Banner}
}
