package wnode

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/urfave/cli/v2"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/wnode/node"
)

// inboxCommand has what a person does with the messages of a device, in addition to what device does with its pushes.
func inboxCommand(dir func() cli.Flag, timeout func(usage string, value time.Duration) cli.Flag, asJSON func() cli.Flag) *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{dir(), asJSON(), timeout("give up after this `DURATION`", time.Minute)}, more...)
	}
	command := func(name, arguments, usage string, action func(ctx context.Context, c *cli.Context, box *deviceInbox) error, more ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, UsageText: strings.TrimSpace("wnode device inbox " + name + " [flags] " + arguments),
			Flags:  flags(more...),
			Action: func(c *cli.Context) error { return withInbox(c, arguments, action) },
		}
	}
	return &cli.Command{
		Name:      "inbox",
		Usage:     "be an app with chats, read state and notifications: show, read, mute, reply",
		UsageText: "wnode device inbox <command> [flags]",
		Description: "It keeps the messages of a device in --dir, and its notifications in notifications.json there, as a phone does. Each\n" +
			"notification that comes or goes is a line. What the user does counts at once, also without a network; others are told\n" +
			"when there is one. Give all devices of one person the same --group, --me and --sync at wnode device register.",
		Subcommands: []*cli.Command{
			command("show", "", "print chats, notifications and the number on the icon", inboxShow),
			command("listen", "", "wait for pushes, and show what they bring", inboxListen,
				&cli.IntFlag{Name: "count", Usage: "end after this `NUMBER` of notifications that were shown or removed; 0: never"},
				&cli.StringFlag{Name: "looking", Usage: "what the user does: off (the screen is), background, foreground, or the `NAME` of the chat that they look at", Value: "background"}),
			command("history", "", "fetch what pushes did not bring, as an app does at its start", inboxHistory),
			command("open", "LINK", "follow the link of a notification: print the message, and read its chat", inboxOpen),
			command("read", "CHAT|HASH…", "read chats or messages: their notifications go, here and on the user's other devices", inboxRead),
			command("delete", "CHAT|HASH…", "delete chats' messages or messages, here alone", inboxDelete),
			command("mute", "CHAT DURATION", "show nothing of a chat for a time, on all of the user's devices; 0 ends it", inboxMute),
			command("block", "PUBKEY", "show nothing of a sender any more, on all of the user's devices", inboxBlock),
			command("unblock", "PUBKEY", "end that", inboxUnblock),
			command("send", "CHAT TEXT", "send a message to a chat, signed with the user's key", inboxSend),
			command("flush", "", "tell others what waits to be told", inboxFlush),
			{
				Name:      "act",
				Usage:     "choose an action on a notification while the app does not run",
				UsageText: "wnode device inbox act [flags] read|read-chat|reply|mute|delete HASH",
				Description: "It asks nobody, and is carried out, once, when the inbox is next opened with a network. Two actions with one --id\n" +
					"are one.",
				Flags: []cli.Flag{dir(),
					&cli.StringFlag{Name: "id", Usage: "the platform's `NAME` of this tap"},
					&cli.StringFlag{Name: "text", Usage: "the `TEXT` of reply"},
					&cli.DurationFlag{Name: "for", Usage: "the `DURATION` of mute", Value: 8 * time.Hour}},
				Action: inboxAct,
			},
		},
	}
}

// deviceInbox is the inbox of the device in --dir.
type deviceInbox struct {
	*inbox.Inbox
	settings *deviceSettings
	device   *client.Device
	tray     *deviceTray
}

// withInbox runs do with the inbox in --dir, and then tells others what is waiting.
func withInbox(c *cli.Context, arguments string, do func(ctx context.Context, c *cli.Context, box *deviceInbox) error) error {
	want := strings.Fields(arguments)
	if many := strings.HasSuffix(arguments, "…"); c.NArg() != len(want) && !many || many && c.NArg() == 0 {
		if len(want) == 0 {
			return noArguments(c)
		}
		return fmt.Errorf("%s needs %s", c.Command.HelpName, strings.Join(want, " and "))
	}
	var untold error
	err := withOpened(c, (*deviceSettings).openComplete, func(ctx context.Context, settings *deviceSettings, device *client.Device) error {
		own, err := settings.me()
		if err != nil {
			return err
		}
		tray, err := openTray(ctx, c.String("dir"), c.App.Writer, c.Bool("json"))
		if err != nil {
			return err
		}
		cfg := inbox.Config{File: filepath.Join(c.String("dir"), inboxFile), Device: device, App: tray, Own: []*ecdsa.PrivateKey{own}}
		if settings.Sync != nil {
			sync, err := settings.Sync.open()
			if err != nil {
				return err
			}
			cfg.Sync = &sync
		}
		box, err := inbox.Open(ctx, cfg)
		if err != nil {
			return err
		}
		defer box.Close()
		if err = do(ctx, c, &deviceInbox{box, settings, device, tray}); err == nil {
			untold = box.Flush(ctx)
		}
		return err
	})
	if err == nil && untold != nil && c.Context.Err() == nil {
		fmt.Fprintf(c.App.ErrWriter, "wnode: not everybody could be told yet; wnode device inbox flush does it: %s\n", node.Redact(untold.Error()))
	}
	return err
}

// me is the key that the user signs with.
func (s *deviceSettings) me() (*ecdsa.PrivateKey, error) {
	if len(s.Me) == 0 {
		return nil, errors.New("this device was registered before there were inboxes; register it again")
	}
	return crypto.ToECDSA(s.Me)
}

// chat finds a chat by its name or id.
func (b *deviceInbox) chat(name string) (inbox.Chat, error) {
	var names []string
	for _, chat := range b.Chats() {
		if chat.Name == name || chat.ID.String() == name {
			return chat, nil
		}
		names = append(names, chat.Name)
	}
	return inbox.Chat{}, fmt.Errorf("there is no chat %.40q; there are %s", name, strings.Join(names, ", "))
}

// each applies a function to the chats and messages that the arguments name.
func (b *deviceInbox) each(ctx context.Context, c *cli.Context, messages func(context.Context, ...common.Hash) error, chat func(context.Context, client.ChatID) error) error {
	for _, name := range c.Args().Slice() {
		if hash, err := hexutil.Decode(name); err == nil && len(hash) == common.HashLength {
			if _, ok := b.Message(common.Hash(hash)); !ok {
				return fmt.Errorf("there is no message %s here", name)
			}
			if err := messages(ctx, common.Hash(hash)); err != nil {
				return err
			}
			continue
		}
		found, err := b.chat(name)
		if err == nil {
			err = chat(ctx, found.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func inboxShow(_ context.Context, c *cli.Context, b *deviceInbox) error {
	out := c.App.Writer
	for _, chat := range b.Chats() {
		muted := ""
		if until := chat.MutedUntil; until.After(time.Now()) {
			muted = ", muted until " + until.Format(time.DateTime)
		}
		fmt.Fprintf(out, "%s: %d messages, %d unread%s\n", chat.Name, chat.Messages, chat.Unread, muted)
		for _, m := range b.Messages(chat.ID) {
			state := "unread"
			switch {
			case m.Own:
				state = "own"
			case m.Blocked:
				state = "blocked"
			case m.Read:
				state = "read"
			}
			fmt.Fprintf(out, "  %s  %s: %s  %s\n", m.Sent.Format(time.DateTime), state, m.Text, m.Hash)
		}
	}
	for _, l := range b.tray.lines() {
		fmt.Fprintf(out, "notification: %s: %s  %s\n", l.Chat, l.Text, l.Link)
	}
	for _, o := range b.Outgoing() {
		fmt.Fprintf(out, "waits to be sent: %s\n", client.Printable(o.Payload))
	}
	counts := b.Counts()
	if counts.All > 0 {
		fmt.Fprintf(out, "could not be decrypted: %d, of which %d wait for a key\n", counts.All, counts.Unopened)
	}
	_, err := fmt.Fprintf(out, "unread: %d\n", b.Unread())
	return err
}

// inboxListen is device listen with notifications instead of previews.
func inboxListen(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	var err error
	switch looking := c.String("looking"); looking {
	case "off":
		err = b.ScreenOff(ctx)
	case "background":
		err = b.Background(ctx)
	default:
		if looking != "foreground" {
			chat, err := b.chat(looking)
			if err != nil {
				return fmt.Errorf("--looking: %w", err)
			}
			if err := b.ChatOpened(ctx, chat.ID); err != nil {
				return err
			}
		}
		err = b.Foreground(ctx)
	}
	if err != nil {
		return err
	}
	wait, hangUp, err := b.settings.ways(ctx, b.device)
	if err != nil {
		return err
	}
	defer hangUp()
	wanted := c.Int("count")
	if wanted > 0 && b.tray.changes >= wanted { // opening a chat has already changed them
		return nil
	}
	err = wait(ctx, func(body []byte) error {
		if err := b.Receive(ctx, body); err != nil && ctx.Err() == nil {
			fmt.Fprintf(c.App.ErrWriter, "wnode: a push was not handled; the next one names the same messages: %s\n", node.Redact(err.Error()))
		}
		if wanted > 0 && b.tray.changes >= wanted {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough), c.Context.Err() != nil:
		return nil
	case ctx.Err() != nil && wanted > 0:
		return fmt.Errorf("%d of %d notifications were shown or removed in time", b.tray.changes, wanted)
	case ctx.Err() != nil:
		return nil
	}
	return err
}

func inboxHistory(ctx context.Context, _ *cli.Context, b *deviceInbox) error { return b.History(ctx) }

// inboxOpen is a tap on a notification.
func inboxOpen(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	target, err := b.Follow(ctx, c.Args().First())
	switch {
	case errors.Is(err, inbox.ErrLinkMalformed):
		return fmt.Errorf("%.80q is no link to a chat or a message", c.Args().First())
	case errors.Is(err, inbox.ErrLinkForeign):
		return errors.New("the link does not lead to a chat of this device")
	case errors.Is(err, inbox.ErrLinkExpired):
		return errors.New("the message of the link was deleted here, or made room for newer ones")
	case errors.Is(err, inbox.ErrLinkUnknown):
		return errors.New("the message of the link is not here, and the mail server does not have it")
	case err != nil:
		return err
	}
	for _, chat := range b.Chats() {
		if chat.ID == target.Chat {
			fmt.Fprintf(c.App.Writer, "chat: %s\n", chat.Name)
		}
	}
	if target.HasMessage {
		fmt.Fprintf(c.App.Writer, "message: %s\n", target.Message.Text)
	}
	return b.ReadChat(ctx, target.Chat)
}

func inboxRead(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	return b.each(ctx, c, b.Read, b.ReadChat)
}

func inboxDelete(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	return b.each(ctx, c, b.Delete, b.DeleteChat)
}

func inboxMute(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	chat, err := b.chat(c.Args().Get(0))
	if err != nil {
		return err
	}
	span, err := time.ParseDuration(c.Args().Get(1))
	if err != nil || span < 0 {
		return fmt.Errorf("%.40q is no duration; give one such as 8h, or 0", c.Args().Get(1))
	}
	var until time.Time
	if span > 0 {
		until = time.Now().Add(span)
	}
	return b.Mute(ctx, chat.ID, until)
}

func inboxBlock(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	return b.sender(ctx, c, b.Block)
}

func inboxUnblock(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	return b.sender(ctx, c, b.Unblock)
}

func (b *deviceInbox) sender(ctx context.Context, c *cli.Context, do func(context.Context, *ecdsa.PublicKey) error) error {
	key, err := client.ParsePublicKey(c.Args().First())
	if err != nil {
		return errors.New("this is no public key of a sender; wnode device listen --json prints them")
	}
	return do(ctx, key)
}

func inboxSend(ctx context.Context, c *cli.Context, b *deviceInbox) error {
	chat, err := b.chat(c.Args().Get(0))
	if err != nil {
		return err
	}
	return b.Send(ctx, chat.ID, []byte(c.Args().Get(1)))
}

func inboxFlush(context.Context, *cli.Context, *deviceInbox) error { return nil } // every command flushes

// actionWords are what a user can choose on a notification.
var actionWords = map[string]inbox.ActionKind{
	"read": inbox.MarkRead, "read-chat": inbox.MarkChatRead, "reply": inbox.Reply, "mute": inbox.MuteChat, "delete": inbox.DeleteMessage,
}

func inboxAct(c *cli.Context) error {
	kind, ok := actionWords[c.Args().Get(0)]
	if !ok || c.NArg() != 2 {
		return fmt.Errorf("%s needs read, read-chat, reply, mute or delete, and the hash of a message", c.Command.HelpName)
	}
	hash, err := hexutil.Decode(c.Args().Get(1))
	if err != nil || len(hash) != common.HashLength {
		return fmt.Errorf("%.80q is no hash of a message; give 0x and 64 hex digits", c.Args().Get(1))
	}
	a := inbox.Action{ID: c.String("id"), Kind: kind, Message: common.Hash(hash), Text: c.String("text")}
	if a.ID == "" {
		return errors.New("--id is missing; give the name that the platform has for this tap")
	}
	if kind == inbox.MuteChat {
		a.Until = time.Now().Add(c.Duration("for"))
	}
	if _, err := loadDevice(c.String("dir")); err != nil {
		return err
	}
	return inbox.Queue(c.Context, filepath.Join(c.String("dir"), inboxFile), a)
}
