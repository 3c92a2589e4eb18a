package inbox

// Attention is what the user does when a message comes.
type Attention int

const (
	ScreenOff  Attention = iota // the screen is off, whatever app is in the foreground
	Background                  // the screen is on, and another app in the foreground
	Elsewhere                   // this app is in the foreground, and the message's chat not visible
	Watching                    // this app is in the foreground, and the message's chat visible
)

// Manner is how a notification appears.
type Manner int

const (
	// Unseen: there is none.
	Unseen Manner = iota
	// Quiet: it is in the list of notifications, and nothing moves or sounds: the user
	// was told of the message before, or it is no news.
	Quiet
	// Banner: the app shows it at the edge of what the user is looking at, without sound.
	Banner
	// HeadsUp: it appears over the other app, with the sound that the user has chosen.
	HeadsUp
	// Alarm: it lights the screen, with the sound that the user has chosen.
	Alarm
)

// Facts are what is known of a message when it is decided whether it is shown.
type Facts struct {
	Read    bool // here or elsewhere
	Own     bool // sent by the user, from whatever device
	Muted   bool // its chat is
	Blocked bool // its sender is
	Lost    bool // its chat is none of the user's any more
	News    bool // the user was never told of it
}

// Decision is what becomes of a message.
type Decision struct {
	Manner Manner
	Read   bool // the message counts as read from now on
}

// Decide is the whole of what is shown. In every row the first that holds counts:
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
