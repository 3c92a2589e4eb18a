package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
)

// settle brings what the platform shows in line with the model, and acknowledges what
// is shown or will not be. Whatever fails is tried again at the next occasion. The
// caller holds mu.
func (i *Inbox) settle(ctx context.Context) error {
	var show []Notification
	var remove []common.Hash
	err := i.change(ctx, func(t *change) error {
		i.readWatched(t)
		show, remove = i.due(time.Now())
		var begun []common.Hash
		for _, n := range show {
			if i.model.entries[n.ID].Display == notDisplayed {
				begun = append(begun, n.ID)
			}
		}
		for _, id := range remove { // or the platform may lose what could come back, as after a mute
			if e := i.model.entries[id]; e != nil && e.unread() && e.Display == displayed {
				begun = append(begun, id)
			}
		}
		if len(begun) > 0 { // the platform may show it from now on, even after a crash
			t.add(&displayRecord{begun, maybeDisplayed})
		}
		return nil
	})
	if err != nil {
		return err
	}
	var errs []error
	var displays, removed []common.Hash
	for _, n := range show {
		if err := i.app.Show(n); err != nil {
			errs = append(errs, fmt.Errorf("inbox: showing a notification: %w", err))
			continue
		}
		i.shown[n.ID] = true
	}
	for _, id := range remove {
		if err := i.app.Remove(id); err != nil {
			errs = append(errs, fmt.Errorf("inbox: removing a notification: %w", err))
			continue
		}
		delete(i.shown, id)
		removed = append(removed, id)
	}
	for id := range i.shown { // shown now, or before if that could not be written
		displays = append(displays, id)
	}
	if len(displays)+len(removed) > 0 {
		err := i.change(ctx, func(t *change) error {
			if len(displays) > 0 {
				t.add(&displayRecord{displays, displayed})
			}
			if len(removed) > 0 {
				t.add(&displayRecord{removed, notDisplayed})
			}
			return nil
		})
		if err == nil {
			clear(i.shown)
		}
		errs = append(errs, err)
	}
	if n := i.unread(time.Now()); n != i.badge {
		if err := i.app.SetBadge(n); err != nil {
			errs = append(errs, fmt.Errorf("inbox: setting the badge: %w", err))
		} else {
			i.badge = n
		}
	}
	errs = append(errs, i.acknowledge(ctx))
	return errors.Join(errs...)
}

// due returns what the platform is to show and to remove, in the order of arrival.
func (i *Inbox) due(now time.Time) (show []Notification, remove []common.Hash) {
	for _, e := range i.model.byAge {
		if i.model.entries[e.Hash] != e {
			continue
		}
		manner := Decide(i.attentionFor(e.Chat), i.about(e, now)).Manner
		switch {
		case manner == Unseen && (e.Display != notDisplayed || i.shown[e.Hash]):
			remove = append(remove, e.Hash)
		case manner != Unseen && e.Display != displayed && !i.shown[e.Hash]:
			show = append(show, i.notification(e, manner))
		}
	}
	for hash := range i.model.ghosts {
		remove = append(remove, hash)
	}
	return show, remove
}

// about returns the facts that decide whether a message is shown.
func (i *Inbox) about(e *entry, now time.Time) Facts {
	return Facts{
		Read: e.Read, Own: e.Own, Muted: i.model.muted(e.Chat, now), Blocked: i.model.blocked(e.Sender),
		Lost: i.chats[e.Chat] == nil, News: !e.Known,
	}
}

func (i *Inbox) attentionFor(chat client.ChatID) Attention {
	if i.attention == Elsewhere && chat == i.visible {
		return Watching
	}
	return i.attention
}

// readWatched marks read what the user is looking at.
func (i *Inbox) readWatched(t *change) {
	c := i.model.chats[i.visible]
	if c == nil || i.attentionFor(i.visible) != Watching {
		return
	}
	var seen []*entry
	for _, e := range c.entries {
		if Decide(Watching, i.about(e, time.Now())).Read {
			seen = append(seen, e)
		}
	}
	t.read(seen)
}

// read marks messages read here.
func (t *change) read(entries []*entry) {
	var hashes []common.Hash
	for _, e := range entries {
		if e.unread() {
			hashes = append(hashes, e.Hash)
		}
	}
	if len(hashes) > 0 {
		t.add(&readRecord{Hashes: hashes, Here: true})
	}
}

func (i *Inbox) notification(e *entry, manner Manner) Notification {
	n := Notification{
		ID: e.Hash, Chat: e.Chat, Sender: e.Sender, Text: e.Text, Sent: time.UnixMilli(int64(e.Sent)),
		Claimed: e.Claimed, Link: MessageLink(e.Chat, e.Hash), Unread: i.unreadOf(e.Chat), Manner: manner,
	}
	if c := i.chats[e.Chat]; c != nil {
		n.Title = c.Name
	}
	return n
}

// acknowledge tells the device which messages it need not hand over again: those that
// are shown, and those that will not be.
func (i *Inbox) acknowledge(ctx context.Context) error {
	var done []common.Hash
	for hash := range i.handed {
		e := i.model.find(hash)
		if e != nil && e.Display != displayed && !i.shown[e.Hash] && Decide(i.attentionFor(e.Chat), i.about(e, time.Now())).Manner != Unseen {
			continue // it is still to be shown
		}
		done = append(done, hash)
	}
	if len(done) == 0 {
		return nil
	}
	if err := i.device.Shown(ctx, done...); err != nil {
		return err
	}
	for _, hash := range done {
		delete(i.handed, hash)
	}
	return nil
}

// reconcile asks the platform what it shows, if it can tell. The caller holds mu.
func (i *Inbox) reconcile(ctx context.Context) error {
	lister, ok := i.app.(Lister)
	if !ok {
		return nil
	}
	has, err := lister.Displayed()
	if err != nil {
		i.logger.Warn("the platform does not tell which notifications it has", "err", err)
		return nil
	}
	return i.change(ctx, func(t *change) error {
		there := make(map[common.Hash]bool)
		var are, ghosts, not []common.Hash
		for _, id := range has {
			there[id] = true
			e := i.model.entries[id]
			switch {
			case e == nil && !i.model.ghosts[id]:
				ghosts = append(ghosts, id)
			case e != nil && e.Display != displayed:
				are = append(are, id)
			}
		}
		for hash, e := range i.model.entries {
			if e.Display == maybeDisplayed && !there[hash] {
				not = append(not, hash) // the crash came first
			}
		}
		if list := slices.Concat(are, ghosts); len(list) > 0 {
			t.add(&displayRecord{list, displayed})
		}
		if len(not) > 0 {
			t.add(&displayRecord{not, notDisplayed})
		}
		return nil
	})
}
