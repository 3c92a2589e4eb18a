package simulate

import (
	"time"

	"whisperpush/pushext/fcm"
	"whisperpush/pushext/pushserver/dispatch"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/topics"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// listening is what devices register of their chats.
type listening int

const (
	toAll      listening = iota // every chat
	toUnmuted                   // every chat, the muted ones as muted
	toMentions                  // for a group, only one's own topic for mentions
)

// scenario is one way to be woken.
type scenario struct {
	name, what string
	listens    listening
	dismisses  bool // the other device is told what was read, through the server
	pairs      bool // only people with two devices count
	link       bool // the app keeps its own link while its user reads a chat as it is written
	ladder     bool // a second push service serves devices that do not fetch
}

var scenarios = []scenario{
	{name: "coalesced", what: "one push for all that was not fetched, within the device's budget"},
	{name: "mention-only", what: "the same, and in groups for mentions alone", listens: toMentions},
	{name: "muted", what: "coalesced, and muted chats ring nobody", listens: toUnmuted},
	{name: "dismissals off", what: "coalesced, people with two devices", pairs: true},
	{name: "dismissals on", what: "the same, and what was read on one is taken away from the other", pairs: true, dismisses: true},
	{name: "direct", what: "coalesced, over the app's own link while a chat is read as it is written", link: true},
	{name: "ladder", what: "coalesced, and after 30 s without a fetch by a second service", ladder: true},
}

// routes are the routes of the devices in a scenario.
func (s *scenario) routes() []dispatch.Rule {
	routes := []dispatch.Rule{{Provider: "fcm", Collapsible: fcm.Collapsible()}}
	if s.link {
		routes = append([]dispatch.Rule{{Provider: "direct", Linked: true}}, routes...)
	}
	if s.ladder {
		routes = append(routes, dispatch.Rule{Provider: "pushy"})
	}
	return routes
}

// rules are the server's rules for such devices, with its default settings.
func (s *scenario) rules() (*dispatch.Rules, error) {
	return dispatch.NewRules(dispatch.Delivery{}, s.routes()...)
}

// arrival is a message that should wake a device.
type arrival struct {
	at    time.Duration
	muted bool
}

// epoch is when the time of districts begins. It is fixed, so that a run does
// not depend on the date.
var epoch = time.Unix(1_800_000_000, 0)

// chatOf is a chat of a person, whom their first device identifies.
type chatOf struct {
	first int
	topic whisper.Topic
}

// match asks the server's index whom each message wakes.
func (d *district) match(l listening) [][]arrival {
	index := topics.New()
	end := epoch.Add(1000 * 24 * time.Hour)
	mutes := make(map[chatOf]bool)
	for _, p := range d.people {
		var channels []registration.Channel
		for _, c := range p.chats {
			ch := registration.Channel{Topic: c.topic, Mode: registration.Every}
			switch {
			case l == toMentions && c.group:
				ch.Topic = c.mention
			case l == toUnmuted && c.muted:
				ch.Mode = pushwire.Muted
			}
			channels = append(channels, ch)
			if c.muted && l == toAll {
				mutes[chatOf{p.first, ch.Topic}] = true
			}
		}
		for _, id := range [...]int{p.first, p.second} {
			if id >= 0 {
				index.Set(registration.ID(id), end, channels)
			}
		}
	}
	arrivals := make([][]arrival, len(d.devices))
	for _, m := range d.messages {
		topic := m.topic
		note := func(id registration.ID) {
			owner := d.devices[id].owner
			if owner == m.author {
				return // the author's devices say Seen
			}
			muted := len(mutes) > 0 && mutes[chatOf{d.people[owner].first, topic}]
			arrivals[id] = append(arrivals[id], arrival{m.at, muted})
		}
		index.Match(topic, epoch.Add(m.at), note)
		if topic = m.mention; m.names {
			index.Match(topic, epoch.Add(m.at), note)
		}
	}
	return arrivals
}
