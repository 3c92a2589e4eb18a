package phone

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
)

// notification is inbox.Notification as JSON. Times are Unix seconds.
type notification struct {
	ID      string `json:"id"`
	Chat    string `json:"chat"`
	Title   string `json:"title"`
	Sender  string `json:"sender,omitempty"` // compressed key; missing: not signed
	Text    string `json:"text"`
	Sent    int64  `json:"sent"`
	Claimed bool   `json:"claimed,omitempty"` // sent is not the sender's word
	Link    string `json:"link"`
	Unread  int    `json:"unread"`
	Manner  string `json:"manner"` // quiet, banner, headsup, alarm
}

var manners = map[inbox.Manner]string{
	inbox.Unseen: "unseen", inbox.Quiet: "quiet", inbox.Banner: "banner", inbox.HeadsUp: "headsup", inbox.Alarm: "alarm",
}

func notificationOf(n inbox.Notification) notification {
	return notification{
		ID: n.ID.Hex(), Chat: n.Chat.String(), Title: n.Title, Sender: hexOf(n.Sender), Text: n.Text, Sent: unix(n.Sent),
		Claimed: n.Claimed, Link: n.Link, Unread: n.Unread, Manner: manners[n.Manner],
	}
}

// message is inbox.Message as JSON.
type message struct {
	ID      string `json:"id"`
	Chat    string `json:"chat"`
	Sender  string `json:"sender,omitempty"`
	Text    string `json:"text"`
	Sent    int64  `json:"sent"`
	Claimed bool   `json:"claimed,omitempty"`
	Own     bool   `json:"own,omitempty"`
	Read    bool   `json:"read,omitempty"`
	Blocked bool   `json:"blocked,omitempty"`
	Link    string `json:"link"`
}

func messageOf(m inbox.Message) message {
	return message{
		ID: m.Hash.Hex(), Chat: m.Chat.String(), Sender: hexOf(m.Sender), Text: m.Text, Sent: unix(m.Sent), Claimed: m.Claimed,
		Own: m.Own, Read: m.Read, Blocked: m.Blocked, Link: inbox.MessageLink(m.Chat, m.Hash),
	}
}

// chatState is inbox.Chat as JSON.
type chatState struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Messages   int    `json:"messages"`
	Unread     int    `json:"unread"`
	MutedUntil int64  `json:"mutedUntil,omitempty"`
	Link       string `json:"link"`
}

func chatOf(c inbox.Chat) chatState {
	return chatState{c.ID.String(), c.Name, c.Messages, c.Unread, unix(c.MutedUntil), inbox.ChatLink(c.ID)}
}

// outgoing is inbox.Outgoing as JSON, or inbox.Failure with its reason.
type outgoing struct {
	ID      string `json:"id"`
	Chat    string `json:"chat"`
	Text    string `json:"text"`
	Written int64  `json:"written,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

func hexOf(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return "0x" + hex.EncodeToString(b)
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// at reverses unix.
func at(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// hash reads a message's id.
func hash(text string) (h common.Hash, err error) {
	if err := h.UnmarshalText([]byte(text)); err != nil {
		return h, fmt.Errorf("%.80q is no id of a message: 0x and 64 hexadecimal digits", text)
	}
	return h, nil
}

func hashes(texts []string) ([]common.Hash, error) {
	all := make([]common.Hash, 0, len(texts))
	for _, text := range texts {
		h, err := hash(text)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// chatID finds a chat by its id.
func (p *App) chatID(text string) (client.ChatID, error) {
	for _, c := range p.inbox.Chats() {
		if c.ID.String() == text {
			return c.ID, nil
		}
	}
	return client.ChatID{}, fmt.Errorf("there is no chat %.40q; give the id that chats and notifications have", text)
}

// encode encodes the answer of a call.
func encode(answer any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(answer)
	return string(text), err
}
