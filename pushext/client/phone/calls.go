package phone

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
)

// done is the answer of calls without one.
type done struct{}

// calls are the calls of Call. Each reads its arguments, and returns its answer.
var calls = map[string]func(p *App, ctx context.Context, arguments string) (any, error){
	"register":   with((*App).register),
	"unregister": with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.device.Unregister(ctx) }),
	"status":     with((*App).status),
	"test":       with((*App).test),
	"receive":    with((*App).receive),
	"history":    with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.History(ctx) }),
	"flush":      with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.Flush(ctx) }),
	"refresh":    with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.Refresh(ctx) }),
	"reshow":     with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.Reshow(ctx) }),
	"sleep": with(func(p *App, _ context.Context, _ struct{}) (any, error) {
		p.device.Sleep()
		return done{}, nil
	}),
	"listen": with((*App).listen),

	"me":       with((*App).me),
	"chats":    with((*App).chats),
	"setChats": with((*App).setChats),
	"messages": with((*App).messages),
	"message":  with((*App).message),
	"outgoing": with((*App).outgoing),
	"follow":   with((*App).follow),

	"send":       with((*App).send),
	"read":       with((*App).read),
	"delete":     with((*App).remove),
	"mute":       with((*App).mute),
	"block":      with((*App).block),
	"action":     with((*App).action),
	"foreground": with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.Foreground(ctx) }),
	"background": with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.Background(ctx) }),
	"screenOff":  with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.ScreenOff(ctx) }),
	"chatOpened": with(func(p *App, ctx context.Context, a ofChat) (any, error) {
		id, err := p.chatID(a.Chat)
		if err != nil {
			return nil, err
		}
		return done{}, p.inbox.ChatOpened(ctx, id)
	}),
	"chatClosed": with(func(p *App, ctx context.Context, _ struct{}) (any, error) { return done{}, p.inbox.ChatClosed(ctx) }),
	"credential": with(func(p *App, _ context.Context, _ struct{}) (any, error) {
		text, err := p.device.Credential()
		return json.RawMessage(text), err
	}),
}

// with makes a call from a method and the type of its arguments.
func with[A any](method func(p *App, ctx context.Context, a A) (any, error)) func(*App, context.Context, string) (any, error) {
	return func(p *App, ctx context.Context, arguments string) (any, error) {
		var a A
		if err := decode(arguments, &a); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
		return method(p, ctx, a)
	}
}

// Calls returns the names of all calls, separated by spaces.
func Calls() string {
	names := make([]string, 0, len(calls))
	for name := range calls {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// Call makes a call with a JSON object of arguments, which may be empty, and returns its
// answer, a JSON value; {} from calls that have no answer.
func (p *App) Call(name, arguments string) (string, error) {
	call := calls[name]
	if call == nil {
		return "", fmt.Errorf("there is no call %.40q; there are %s", name, Calls())
	}
	ctx, cancel := p.begin()
	defer cancel()
	return encode(call(p, ctx, arguments))
}

type route struct {
	Provider   string `json:"provider"` // the server's name for it
	Address    string `json:"address"`  // token, endpoint or subscription, as docs/providers.md has it; or
	AddressHex string `json:"addressHex"`
	Direct     bool   `json:"direct"` // the device's own connection: no address
}

func (p *App) register(ctx context.Context, a struct {
	Routes   []route `json:"routes"`
	Group    string  `json:"group"`    // secret of the user's devices, in hexadecimal
	Lifetime int64   `json:"lifetime"` // seconds; 0: the longest that the server allows
	Voucher  string  `json:"voucher"`  // in hexadecimal
	Plain    bool    `json:"plain"`
}) (any, error) {
	r := client.Registration{Lifetime: time.Duration(a.Lifetime) * time.Second, Plain: a.Plain}
	for _, given := range a.Routes {
		address := []byte(given.Address)
		if given.AddressHex != "" {
			var err error
			if address, err = hex.DecodeString(strings.TrimPrefix(given.AddressHex, "0x")); err != nil {
				return nil, fmt.Errorf("route %.40q: its addressHex is not hexadecimal", given.Provider)
			}
		}
		one := pushwire.Route{Provider: given.Provider, Address: address}
		if given.Direct {
			var err error
			if one, err = p.device.DirectRoute(given.Provider); err != nil {
				return nil, err
			}
		}
		r.Routes = append(r.Routes, one)
	}
	var err error
	if r.Group, err = hex.DecodeString(strings.TrimPrefix(a.Group, "0x")); err != nil {
		return nil, errors.New("group is not hexadecimal")
	}
	if r.Voucher, err = hex.DecodeString(strings.TrimPrefix(a.Voucher, "0x")); err != nil {
		return nil, errors.New("voucher is not hexadecimal")
	}
	if err := p.device.Register(ctx, r); err != nil {
		return nil, err
	}
	return map[string]bool{"active": p.device.Active()}, nil
}

func (p *App) status(ctx context.Context, _ struct{}) (any, error) {
	return explain(p.device.Status(ctx))
}

func (p *App) test(ctx context.Context, _ struct{}) (any, error) {
	return explain(p.device.TestPush(ctx))
}

func explain(s client.Status, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]any{"active": s.State == pushwire.Active, "state": s.State.String(), "lines": s.Explain(time.Now())}, nil
}

func (p *App) receive(_ context.Context, a struct {
	Platform string          `json:"platform"`
	Push     json.RawMessage `json:"push"`
}) (any, error) {
	answer, err := p.Receive(a.Platform, a.Push)
	return json.RawMessage(answer), err
}

// listen starts or stops ringing over the device's own connection.
func (p *App) listen(_ context.Context, a struct {
	Stop bool `json:"stop"`
}) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rings != nil {
		p.rings()
		p.rings = nil
	}
	if a.Stop || p.life.Err() != nil {
		return done{}, nil
	}
	ctx, cancel := context.WithCancel(p.life)
	p.rings = cancel
	p.wg.Go(func() {
		defer cancel()
		_ = p.device.Listen(ctx, func(body []byte) error {
			if err := p.inbox.Receive(ctx, body); err != nil && ctx.Err() != nil {
				return err // otherwise the next ring names it again
			}
			return nil
		})
	})
	return done{}, nil
}

func (p *App) me(context.Context, struct{}) (any, error) {
	return map[string]any{
		"key": hexOf(crypto.CompressPubkey(&p.own.PublicKey)), "active": p.device.Active(), "unread": p.inbox.Unread(),
	}, nil
}

type ofChat struct {
	Chat string `json:"chat"` // its id
}

func (p *App) chats(context.Context, struct{}) (any, error) {
	all := []chatState{}
	for _, c := range p.inbox.Chats() {
		all = append(all, chatOf(c))
	}
	return all, nil
}

func (p *App) setChats(ctx context.Context, a struct {
	Chats []chat `json:"chats"`
}) (any, error) {
	chats, err := openChats(a.Chats)
	if err != nil {
		return nil, err
	}
	if p.sync != nil {
		chats = append(chats, *p.sync)
	}
	return done{}, p.inbox.SetChats(ctx, chats)
}

func (p *App) messages(_ context.Context, a ofChat) (any, error) {
	id, err := p.chatID(a.Chat)
	if err != nil {
		return nil, err
	}
	all := []message{}
	for _, m := range p.inbox.Messages(id) {
		all = append(all, messageOf(m))
	}
	return all, nil
}

type ofMessage struct {
	ID string `json:"id"`
}

func (p *App) message(_ context.Context, a ofMessage) (any, error) {
	id, err := hash(a.ID)
	if err != nil {
		return nil, err
	}
	m, ok := p.inbox.Message(id)
	if !ok {
		return nil, errors.New("there is no such message any more")
	}
	return messageOf(m), nil
}

func (p *App) outgoing(context.Context, struct{}) (any, error) {
	waiting, failed := []outgoing{}, []outgoing{}
	for _, o := range p.inbox.Outgoing() {
		waiting = append(waiting, outgoing{ID: o.ID, Chat: o.Chat.String(), Text: client.Printable(o.Payload), Written: unix(o.Written)})
	}
	for _, f := range p.inbox.Failures() {
		failed = append(failed, outgoing{ID: f.ID, Chat: f.Chat.String(), Text: client.Printable(f.Payload), Reason: f.Reason})
	}
	return map[string]any{"waiting": waiting, "failed": failed}, nil
}

func (p *App) follow(ctx context.Context, a struct {
	Link string `json:"link"`
}) (any, error) {
	target, err := p.inbox.Follow(ctx, a.Link)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"chat": target.Chat.String()}
	if target.HasMessage {
		answer["message"] = messageOf(target.Message)
	}
	return answer, nil
}

func (p *App) send(ctx context.Context, a struct {
	Chat string `json:"chat"`
	Text string `json:"text"`
}) (any, error) {
	id, err := p.chatID(a.Chat)
	if err != nil {
		return nil, err
	}
	return done{}, p.inbox.Send(ctx, id, []byte(a.Text))
}

// read marks messages read, or a whole chat.
func (p *App) read(ctx context.Context, a ofMessages) (any, error) {
	return p.eachOf(ctx, a, p.inbox.Read, p.inbox.ReadChat)
}

type ofMessages struct {
	IDs  []string `json:"ids"`
	Chat string   `json:"chat"`
}

// eachOf applies a function to messages, or to all of a chat.
func (p *App) eachOf(ctx context.Context, a ofMessages, messages func(context.Context, ...common.Hash) error, chat func(context.Context, client.ChatID) error) (any, error) {
	if (len(a.IDs) == 0) == (a.Chat == "") {
		return nil, errors.New("give ids of messages, or a chat")
	}
	if a.Chat != "" {
		id, err := p.chatID(a.Chat)
		if err != nil {
			return nil, err
		}
		return done{}, chat(ctx, id)
	}
	all, err := hashes(a.IDs)
	if err != nil {
		return nil, err
	}
	return done{}, messages(ctx, all...)
}

func (p *App) remove(ctx context.Context, a ofMessages) (any, error) {
	return p.eachOf(ctx, a, p.inbox.Delete, p.inbox.DeleteChat)
}

func (p *App) mute(ctx context.Context, a struct {
	Chat  string `json:"chat"`
	Until int64  `json:"until"` // Unix seconds; 0: ends the mute
}) (any, error) {
	id, err := p.chatID(a.Chat)
	if err != nil {
		return nil, err
	}
	return done{}, p.inbox.Mute(ctx, id, at(a.Until))
}

func (p *App) block(ctx context.Context, a struct {
	Sender string `json:"sender"`
	End    bool   `json:"end"` // unblocks
}) (any, error) {
	sender, err := client.ParsePublicKey(a.Sender)
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	if a.End {
		return done{}, p.inbox.Unblock(ctx, sender)
	}
	return done{}, p.inbox.Block(ctx, sender)
}

func (p *App) action(ctx context.Context, a quickAction) (any, error) {
	act, err := a.open()
	if err != nil {
		return nil, err
	}
	return done{}, p.inbox.Do(ctx, act)
}
