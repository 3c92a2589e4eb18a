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
	toMentions                  // of a group one's own topic of mentions alone
)

// scenario is one way to be woken.
type scenario struct {
	name, what string
	listens    listening
	dismisses  bool // what is read is told to the other device, through the server
	pairs      bool // counts the devices of people who have two
	link       bool // the app keeps a link of its own while a chat is read as it is written
	ladder     bool // there is a second push service, for who does not fetch
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

// routes are those of the devices of a scenario.
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

// rules are the server's for such devices, with its default settings.
func (s *scenario) rules() (*dispatch.Rules, error) {
	return dispatch.NewRules(dispatch.Delivery{}, s.routes()...)
}

// arrival is a message for which a device is to be woken.
type arrival struct {
	at    time.Duration
	muted bool
}

// epoch is when the time of districts begins. It is not now: a run is the same whenever.
var epoch = time.Unix(1_800_000_000, 0)

// chatOf is a chat of the person whose first device it is.
type chatOf struct {
	first int
	topic whisper.Topic
}

// match asks the server's index who is to be woken for each message.
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
				return // who sends says Seen
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
