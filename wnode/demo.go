package wnode

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/wnode/node"
)

const (
	// demoPatience bounds the whole demonstration.
	demoPatience = 20 * time.Second
	// demoPromise bounds the time from a message to its preview.
	demoPromise = 15 * time.Second
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "run the whole loop once on this computer: message, push, fetch, preview",
		UsageText: "wnode demo [--store URL] [--verbose]",
		Description: "It starts a mailserver with push, a relay, an emulated FCM, Alice's node and two devices of Bob, all real nodes\n" +
			"that talk over 127.0.0.1 and keep their data in a temporary directory. Bob registers and goes to sleep,\n" +
			"Alice writes, the pushes wake his devices, and they show who wrote what. Then they and Carol are a group: a mention\n" +
			"wakes only the mentioned, is read on the tablet and gone on the phone. The last lines tell the count, and the exit\n" +
			"code is not 0 if anything is missing or late.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "store", Usage: "keep the mailserver's archive and registrations in the PostgreSQL database at this `URL`, an empty one"},
			&cli.StringFlag{Name: "store.password", Usage: "`FILE` with the database's password"},
			&cli.BoolFlag{Name: "verbose", Usage: "log what the nodes do, on standard error"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			settings := config.Log{Verbosity: 0, Format: "text"}
			if c.Bool("verbose") {
				settings.Verbosity = 4
			}
			ctx, cancel := context.WithTimeoutCause(c.Context, demoPatience, fmt.Errorf("the demo took longer than %v", demoPatience))
			defer cancel()
			d := &demo{
				trace: newTrace(c.App.Writer), logger: node.NewLogger(c.App.ErrWriter, settings),
				store: c.String("store"), password: c.String("store.password"),
			}
			result, err := d.run(ctx)
			if err != nil {
				return fmt.Errorf("demo failed: %w", err)
			}
			_, err = fmt.Fprintln(c.App.Writer, result)
			return err
		},
	}
}

// demo is one run of the loop.
type demo struct {
	trace    *trace
	logger   *slog.Logger
	store    string // URL of a database, or empty
	password string // file with its password, or empty

	fcm         *emulate.FCM
	mail, relay *node.Node
	alice       *node.Node
	aliceKey    *ecdsa.PrivateKey
	bob         []*demoDevice
	stops       []func()
}

// demoChats are what Bob listens to; the mailserver knows only their topics.
func demoChats() []client.Chat {
	return []client.Chat{
		client.PasswordChat("family", whisper.TopicFor("family"), "a secret of the family"),
		client.PasswordChat("work", whisper.TopicFor("work"), "a secret of the office"),
	}
}

// demoMessages are what Alice writes, by chat. Bob listens only to demoChats.
var demoMessages = []struct{ chat, text string }{
	{"family", "Dinner is at seven."},
	{"work", "The release is out."},
	{"strangers", "Bob does not listen to this topic, so nothing rings."},
	{"family", "Bring bread, please."},
}

// run goes through the stages and returns the last lines.
func (d *demo) run(ctx context.Context) (result string, err error) {
	dir, err := os.MkdirTemp("", "whisperpush-demo-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	defer func() {
		for i := len(d.stops) - 1; i >= 0; i-- {
			d.stops[i]()
		}
	}()
	if err := d.startNodes(ctx, dir); err != nil {
		return "", err
	}
	if err := d.registerBob(ctx); err != nil {
		return "", err
	}
	sent, err := d.write(ctx)
	if err != nil {
		return "", err
	}
	if result, err = d.collect(ctx, sent); err != nil {
		return "", err
	}
	second, err := d.actTwo(ctx, dir)
	return result + "\n" + second, err
}

// startNodes starts the emulator, the mailserver, the relay and Alice, connected in a row: Alice's messages reach the
// mailserver through the relay.
func (d *demo) startNodes(ctx context.Context, dir string) error {
	var err error
	if d.fcm, err = emulate.StartFCM(emulate.FCMConfig{}); err != nil {
		return err
	}
	d.stops = append(d.stops, d.fcm.Close)
	d.trace.line("fcm", "emulator listens, OAuth and messages:send, on %s", d.fcm.URL())
	credentials := filepath.Join(dir, "service-account.json")
	if err := os.WriteFile(credentials, d.fcm.CredentialsJSON(), 0o600); err != nil {
		return err
	}

	if d.mail, err = d.startNode(filepath.Join(dir, "mailserver"), func(cfg *config.Config) {
		cfg.Push.Enabled = true
		cfg.Node.Store, cfg.Node.StorePasswordFile = d.store, d.password
		cfg.Push.Provider = []config.Provider{{Name: "fcm", Type: "fcm", Options: map[string]any{
			"Endpoint":        d.fcm.Endpoint(),
			"CredentialsFile": credentials,
		}}}
	}); err != nil {
		return err
	}
	d.trace.line("mailserver", "archives and pushes, at %.30s…", d.mail.Self().URLv4())
	if d.relay, err = d.startNode(filepath.Join(dir, "relay"), nil); err != nil {
		return err
	}
	if d.alice, err = d.startNode(filepath.Join(dir, "alice"), nil); err != nil {
		return err
	}
	if d.aliceKey, err = crypto.GenerateKey(); err != nil {
		return err
	}
	for _, link := range [][2]*node.Node{{d.relay, d.mail}, {d.alice, d.relay}} {
		link[0].AddPeer(link[1].Self())
		if err := link[0].Whisper().WaitPeer(ctx, link[1].Self().ID()); err != nil {
			return fmt.Errorf("two nodes did not connect: %w", err)
		}
	}
	d.trace.line("network", "alice — relay — mailserver are connected over devp2p")
	return nil
}

func (d *demo) startNode(dir string, edit func(*config.Config)) (*node.Node, error) {
	cfg := config.Defaults()
	cfg.Node.DataDir = dir
	cfg.Node.ListenAddr = "127.0.0.1:0"
	cfg.Node.NAT = "none"
	cfg.Node.NoDiscovery = true
	cfg.RPC.IPCDisable = true
	if edit != nil {
		edit(&cfg)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := node.Start(cfg, d.logger)
	if err != nil {
		return nil, err
	}
	d.stops = append(d.stops, s.Stop)
	return s, nil
}

// registerBob registers two devices, each with an account of its own. The server proves with a push that their addresses
// are theirs. Then they hang up.
func (d *demo) registerBob(ctx context.Context) error {
	for _, name := range []string{"bob's phone", "bob's tablet"} {
		device, err := client.Open(ctx, client.Config{
			Server:  d.mail.Self().URLv4(),
			PushKey: hexutil.Encode(crypto.FromECDSAPub(d.mail.PushKey())),
			Chats:   demoChats(),
			Logger:  d.logger,
		})
		if err != nil {
			return err
		}
		d.stops = append(d.stops, func() {
			if err := device.Close(); err != nil {
				d.logger.Error("closing a device", "err", err)
			}
		})
		bob := &demoDevice{Device: device, name: name, token: d.fcm.NewToken()}
		d.bob = append(d.bob, bob)

		route := pushwire.Route{Provider: "fcm", Address: []byte(bob.token)}
		if err := device.Register(ctx, client.Registration{Routes: []pushwire.Route{route}}); err != nil {
			return err
		}
		d.trace.line(name, "registered, unconfirmed: the address is to be proven")
		challenge, err := bob.push(ctx, d.fcm)
		if err != nil {
			return fmt.Errorf("%s got no challenge: %w", name, err)
		}
		d.trace.line("fcm", "push of %d bytes to %s: the challenge, sealed", len(challenge.Body), name)
		event, err := device.Receive(ctx, challenge.Body)
		if err != nil {
			return err
		}
		if event.Kind != pushwire.Challenge || !device.Active() {
			return fmt.Errorf("%s answered the challenge and is not active", name)
		}
		device.Sleep()
		d.trace.line(name, "confirmed; disconnects and sleeps")
	}
	return nil
}

// write lets Alice send her messages and returns those that Bob should see.
func (d *demo) write(ctx context.Context) (map[common.Hash]demoMessage, error) {
	keys := make(map[string][]byte)
	for _, chat := range demoChats() {
		keys[chat.Name] = chat.Key
	}
	sent := make(map[common.Hash]demoMessage)
	for _, m := range demoMessages {
		key, listens := keys[m.chat]
		if !listens {
			key = whisper.KeyFromPassword(m.chat)
		}
		e, err := whisper.Seal(ctx, whisper.Draft{
			Payload: []byte(m.text), Topic: whisper.TopicFor(m.chat), Key: key, Sign: d.aliceKey, PoW: whisper.DefaultMinPoW,
		})
		if err != nil {
			return nil, err
		}
		if err := d.alice.Whisper().Post(ctx, e); err != nil {
			return nil, err
		}
		d.trace.line("alice", "writes to %s on topic %s", m.chat, e.Topic)
		if listens {
			sent[e.Hash()] = demoMessage{text: m.text, chat: m.chat, at: time.Now()}
		}
	}
	return sent, nil
}

type demoMessage struct {
	text, chat string
	at         time.Time
}

// collect lets each device sleep until its pushes arrive, and compares what they show with what was sent.
func (d *demo) collect(ctx context.Context, sent map[common.Hash]demoMessage) (string, error) {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex // guards the following
		errs    []error
		slowest time.Duration
		shown   int
	)
	for _, bob := range d.bob {
		wg.Go(func() {
			err := bob.wake(ctx, d, sent, func(p client.Preview, m demoMessage) {
				took := time.Since(m.at)
				d.trace.line(bob.name, "shows alice in %s: %q, %d ms after she wrote", p.Chat, p.Text, took.Milliseconds())
				mu.Lock()
				defer mu.Unlock()
				shown++
				slowest = max(slowest, took)
				if p.Text != m.text || p.Chat != m.chat || p.Sender == nil || !p.Sender.Equal(&d.aliceKey.PublicKey) {
					errs = append(errs, fmt.Errorf("%s shows another message than alice wrote", bob.name))
				}
			})
			if err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", bob.name, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	return d.judge(len(sent), shown, slowest)
}

// judge checks everything that reached the push service.
func (d *demo) judge(messages, shown int, slowest time.Duration) (string, error) {
	pushes := d.fcm.Received()
	for _, push := range pushes {
		if len(push.Body) != len(pushes[0].Body) {
			return "", fmt.Errorf("pushes differ in size, %d and %d bytes", len(pushes[0].Body), len(push.Body))
		}
	}
	rung := len(pushes) - len(d.bob) // besides one challenge for each device
	switch {
	case shown != messages*len(d.bob):
		return "", fmt.Errorf("%d previews of %d messages on %d devices", shown, messages, len(d.bob))
	case rung < len(d.bob):
		return "", fmt.Errorf("only %d pushes woke %d devices", rung, len(d.bob))
	case slowest > demoPromise:
		return "", fmt.Errorf("a message took %v to its preview, longer than %v", slowest.Round(time.Millisecond), demoPromise)
	}
	d.trace.line("fcm", "saw %d pushes of %d bytes each, no hash, no topic, no sender", len(pushes), len(pushes[0].Body))
	return fmt.Sprintf("demo ok: %d messages, %d pushes, %d previews, slowest %d ms", messages, rung, shown, slowest.Milliseconds()), nil
}

// demoDevice is a device and its token at the push service.
type demoDevice struct {
	*client.Device
	name, token string
}

// push waits for the next push to the device.
func (b *demoDevice) push(ctx context.Context, fcm *emulate.FCM) (emulate.Push, error) {
	select {
	case push := <-fcm.Pushes(b.token):
		return push, nil
	case <-ctx.Done():
		return emulate.Push{}, fmt.Errorf("no push came: %w", context.Cause(ctx))
	}
}

// wake handles pushes until every message that was sent has been shown.
func (b *demoDevice) wake(ctx context.Context, d *demo, sent map[common.Hash]demoMessage, show func(client.Preview, demoMessage)) error {
	waiting := len(sent)
	for waiting > 0 {
		push, err := b.push(ctx, d.fcm)
		if err != nil {
			return err
		}
		d.trace.line("fcm", "push of %d bytes wakes %s", len(push.Body), b.name)
		event, err := b.Receive(ctx, push.Body)
		if err != nil {
			return err
		}
		if len(event.Missing) > 0 {
			return fmt.Errorf("the mailserver no longer has %d envelopes it pushed for", len(event.Missing))
		}
		for _, p := range event.Previews {
			m, ok := sent[p.Hash]
			if !ok {
				return fmt.Errorf("a message on topic %s rang, which it should not", p.Topic)
			}
			waiting--
			show(p, m)
		}
		if err := b.Shown(ctx, event.Hashes()...); err != nil {
			return err
		}
	}
	b.Sleep()
	return nil
}
