package wnode

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
)

const (
	inboxFile = "inbox"
	trayFile  = "notifications.json"
)

// deviceTray is the notifications of a device on the command line: a file, like the list that a platform keeps, and a
// line of output for each that appears or disappears. It implements inbox.Lister.
type deviceTray struct {
	store   client.FileStore
	out     io.Writer
	asJSON  bool
	shown   map[common.Hash]trayLine
	badge   int // the number on the icon
	changes int // shown or removed, in this run
}

// trayLine is a notification as it is kept and printed.
type trayLine struct {
	Event  string      `json:"event,omitempty"` // show, remove, badge
	ID     common.Hash `json:"id,omitzero"`
	Manner string      `json:"manner,omitempty"`
	Chat   string      `json:"chat,omitempty"`
	Text   string      `json:"text,omitempty"`
	Sent   time.Time   `json:"sent,omitzero"`
	Link   string      `json:"link,omitempty"`
	Unread int         `json:"unread,omitempty"`
	Badge  int         `json:"badge"`
}

// trayState is the file.
type trayState struct {
	Badge         int        `json:"badge"`
	Notifications []trayLine `json:"notifications"`
}

// mannerWords are the ways in which a notification appears.
var mannerWords = map[inbox.Manner]string{
	inbox.Quiet: "quiet", inbox.Banner: "banner", inbox.HeadsUp: "heads-up", inbox.Alarm: "alarm",
}

// openTray reads what is displayed.
func openTray(ctx context.Context, dir string, out io.Writer, asJSON bool) (*deviceTray, error) {
	t := &deviceTray{store: client.FileStore(filepath.Join(dir, trayFile)), out: out, asJSON: asJSON, shown: make(map[common.Hash]trayLine)}
	text, err := t.store.Load(ctx)
	if err != nil || text == nil {
		return t, err
	}
	var kept trayState
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("%s is damaged; remove it, and the notifications are shown again: %w", t.store, err)
	}
	t.badge = kept.Badge
	for _, l := range kept.Notifications {
		t.shown[l.ID] = l
	}
	return t, nil
}

// Show implements inbox.App. A notification that could not be printed was not shown.
func (t *deviceTray) Show(n inbox.Notification) error {
	l := trayLine{Event: "show", ID: n.ID, Manner: mannerWords[n.Manner], Chat: n.Title, Text: n.Text, Sent: n.Sent, Link: n.Link, Unread: n.Unread}
	if err := t.print(l); err != nil {
		return err
	}
	t.changes++
	t.shown[n.ID] = l
	return t.save()
}

// Remove implements inbox.App.
func (t *deviceTray) Remove(id common.Hash) error {
	if _, ok := t.shown[id]; !ok {
		return nil
	}
	if err := t.print(trayLine{Event: "remove", ID: id}); err != nil {
		return err
	}
	t.changes++
	delete(t.shown, id)
	return t.save()
}

// SetBadge implements inbox.App.
func (t *deviceTray) SetBadge(n int) error {
	if n == t.badge {
		return nil
	}
	if err := t.print(trayLine{Event: "badge", Badge: n}); err != nil {
		return err
	}
	t.badge = n
	return t.save()
}

// Displayed implements inbox.Lister.
func (t *deviceTray) Displayed() ([]common.Hash, error) {
	ids := make([]common.Hash, 0, len(t.shown))
	for id := range t.shown {
		ids = append(ids, id)
	}
	return ids, nil
}

// lines are the notifications, oldest first.
func (t *deviceTray) lines() []trayLine {
	lines := make([]trayLine, 0, len(t.shown))
	for _, l := range t.shown {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b trayLine) int {
		if c := a.Sent.Compare(b.Sent); c != 0 {
			return c
		}
		return a.ID.Cmp(b.ID)
	})
	return lines
}

func (t *deviceTray) save() error {
	text, err := json.Marshal(trayState{t.badge, t.lines()})
	if err != nil {
		return err
	}
	return t.store.Save(context.Background(), text)
}

func (t *deviceTray) print(l trayLine) error {
	if t.asJSON {
		return json.NewEncoder(t.out).Encode(l)
	}
	var err error
	switch l.Event {
	case "show":
		_, err = fmt.Fprintf(t.out, "show %s  %s: %s  %s\n", l.Manner, l.Chat, l.Text, l.Link)
	case "remove":
		_, err = fmt.Fprintf(t.out, "remove %s\n", l.ID)
	case "badge":
		_, err = fmt.Fprintf(t.out, "badge %d\n", l.Badge)
	}
	return err
}
