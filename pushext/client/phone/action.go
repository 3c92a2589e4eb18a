package phone

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"whisperpush/pushext/client/inbox"
)

// quickAction is what the user chose on a notification.
type quickAction struct {
	ID      string `json:"id"`     // the platform's ID, by which a repeated action is recognized
	Action  string `json:"action"` // read, readChat, reply, mute, delete
	Message string `json:"message"`
	Text    string `json:"text"`  // of reply
	Until   int64  `json:"until"` // of mute, Unix seconds
}

var actions = map[string]inbox.ActionKind{
	"read": inbox.MarkRead, "readChat": inbox.MarkChatRead, "reply": inbox.Reply, "mute": inbox.MuteChat, "delete": inbox.DeleteMessage,
}

func (a quickAction) open() (inbox.Action, error) {
	kind, ok := actions[a.Action]
	if !ok {
		return inbox.Action{}, fmt.Errorf("there is no action %.20q; give read, readChat, reply, mute or delete", a.Action)
	}
	id, err := hash(a.Message)
	return inbox.Action{ID: a.ID, Kind: kind, Message: id, Text: a.Text, Until: at(a.Until)}, err
}

// Act carries out what the user chose on a notification while the app does not run. The
// action is in the file in directory when Act returns, and is carried out when the app next
// opens its App. action is the object that the call action takes.
func Act(directory, action string) error {
	var a quickAction
	if err := decode(action, &a); err != nil {
		return fmt.Errorf("action: %w", err)
	}
	act, err := a.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), defaultPatience*time.Second)
	defer cancel()
	return inbox.Queue(ctx, filepath.Join(directory, "inbox"), act)
}
