package wnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/wnode/node"
)

// maxPushBody bounds what device receive reads: the most that any push service carries.
const maxPushBody = 4096

func deviceCommand() *cli.Command {
	dir := func() cli.Flag {
		return &cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the device's keys and settings", Value: defaultDeviceDir(), DefaultText: "~/.whisperpush-device"}
	}
	timeout := func(usage string, value time.Duration) cli.Flag {
		return &cli.DurationFlag{Name: "timeout", Usage: usage, Value: value}
	}
	asJSON := func() cli.Flag {
		return &cli.BoolFlag{Name: "json", Usage: "print one JSON object a line", DisableDefaultText: true}
	}
	return &cli.Command{
		Name:      "device",
		Usage:     "be a device on the command line: register, wait for pushes, fetch, show",
		UsageText: "wnode device <command> [flags]",
		Description: "It plays the phone: it registers with a mail server, is woken by pushes, fetches exactly what they tell of,\n" +
			"and prints previews. What register learnt is kept in --dir, so the other commands need nothing else.\n\n" +
			"Pushes reach it through an emulated push service of any type (--emulator, see wnode emulate), as web-hooks to a\n" +
			"port of this computer (--webhook), over its own connection to the mail server with no push service (--direct), or\n" +
			"by hand: a real device's token (--provider, --token) and the body of each push on the standard input of device\n" +
			"receive.",
		Subcommands: []*cli.Command{
			{
				Name:      "register",
				Usage:     "register with a mail server and answer its challenge",
				UsageText: "wnode device register --server ENODE --pushkey KEY --chat NAME=PASSWORD [--direct] [--emulator URL | --webhook ADDR | --token TOKEN] [flags]",
				Description: "Registering again replaces the registration. With --direct and another way the device is rung over its connection\n" +
					"first, whatever the order of the flags; the other way is used when the device is not connected, or does not fetch.\n\n" +
					"Examples:\n   wnode device register --server enode://…@127.0.0.1:30303 --pushkey 0x04… --chat 'family=our secret' --webhook 127.0.0.1:9000\n" +
					"   wnode device register --server enode://…@127.0.0.1:30303 --pushkey 0x04… --chat 'family=our secret' --direct --token TOKEN --provider fcm",
				Flags:  append([]cli.Flag{dir(), timeout("give up on the challenge after this `DURATION`", time.Minute)}, registerFlags()...),
				Action: deviceRegister,
			},
			{
				Name:  "listen",
				Usage: "wait for pushes, fetch what they tell of, print previews",
				Flags: []cli.Flag{dir(), asJSON(),
					&cli.IntFlag{Name: "count", Usage: "end after this `NUMBER` of previews; 0: never"},
					timeout("end, with an error if there is a --count, after this `DURATION`; 0: never", 0)},
				Action: deviceListen,
			},
			{
				Name:   "receive",
				Usage:  "handle one push whose body is on standard input",
				Flags:  []cli.Flag{dir(), asJSON(), timeout("give up after this `DURATION`", time.Minute)},
				Action: deviceReceive,
			},
			{
				Name:      "fetch",
				Usage:     "fetch envelopes by hash and print previews of those not shown before",
				UsageText: "wnode device fetch [flags] HASH…",
				Flags:     []cli.Flag{dir(), asJSON(), timeout("give up after this `DURATION`", time.Minute)},
				Action:    deviceFetch,
			},
			{
				Name:   "history",
				Usage:  "fetch everything since the last time and print previews of what was not shown before",
				Flags:  []cli.Flag{dir(), asJSON(), timeout("give up after this `DURATION`", time.Minute)},
				Action: deviceHistory,
			},
			{
				Name:      "seen",
				Usage:     "say that messages were read: nobody is woken for them any more",
				UsageText: "wnode device seen [flags] HASH…",
				Flags:     []cli.Flag{dir(), timeout("give up after this `DURATION`", time.Minute)},
				Action:    deviceSeen,
			},
			inboxCommand(dir, timeout, asJSON),
			{
				Name:   "show",
				Usage:  "print what the server holds about the device",
				Flags:  []cli.Flag{dir(), timeout("give up after this `DURATION`", time.Minute)},
				Action: deviceShow,
			},
			{
				Name:   "status",
				Usage:  "say in plain words whether pushes can arrive, and why not",
				Flags:  []cli.Flag{dir(), timeout("give up after this `DURATION`", time.Minute)},
				Action: deviceStatus,
			},
			{
				Name:      "servers",
				Usage:     "list the mail servers that announce themselves, the best first",
				UsageText: "wnode device servers --through ENODE [flags]",
				Description: "It listens on the discovery topic through Whisper nodes, and asks the best servers for a round trip. What it\n" +
					"knows of them is kept in --dir, so that servers that did not answer come last. Nobody vouches for a server: who\n" +
					"runs it sees when the device is woken.",
				Flags:  append([]cli.Flag{dir()}, serversFlags()...),
				Action: deviceServers,
			},
			{
				Name:      "move",
				Usage:     "go to another mail server, without a gap and without a message twice",
				UsageText: "wnode device move --server ENODE --pushkey KEY [flags]",
				Description: "It registers with the next server as with the former one, answers the challenge, prints what was missed, and\n" +
					"only then ends the former registration. The former server may be dead.",
				Flags: []cli.Flag{dir(), asJSON(), timeout("give up after this `DURATION`", 2*time.Minute),
					&cli.StringFlag{Name: "server", Usage: "`URL` of the next mail server: its enode URL, or that of its door, https://HOST"},
					&cli.StringFlag{Name: "pushkey", Usage: "the next mail server's push `KEY`"}},
				Action: deviceMove,
			},
			{
				Name:   "credential",
				Usage:  "print what another of your devices needs to revoke this one, should it be lost; tell nobody else",
				Flags:  []cli.Flag{dir()},
				Action: deviceCredential,
			},
			{
				Name:      "revoke",
				Usage:     "end the registration of a lost device, for good",
				UsageText: "wnode device revoke [flags] FILE",
				Flags:     []cli.Flag{timeout("give up after this `DURATION`", time.Minute)},
				Action:    deviceRevoke,
			},
			{
				Name:   "evidence",
				Usage:  "print what convicts the mail server of having withheld a wake-up, for wnode evidence to verify",
				Flags:  []cli.Flag{dir()},
				Action: deviceEvidence,
			},
			{
				Name:  "test-push",
				Usage: "have a test push sent on every route, and say what became of it",
				Description: "The mail server sends a test push through every route that is in use. It is waited for as listen waits; of a device\n" +
					"whose pushes come by hand, give the body to wnode device receive. A server sends few of them: three at once, then one\n" +
					"in ten minutes.",
				Flags:  []cli.Flag{dir(), timeout("wait this `DURATION` for the pushes", 20*time.Second)},
				Action: deviceTestPush,
			},
			{
				Name:   "unregister",
				Usage:  "end the registration",
				Flags:  []cli.Flag{dir(), timeout("give up after this `DURATION`", time.Minute)},
				Action: deviceUnregister,
			},
		},
	}
}

// withDevice runs do with the device in --dir, within --timeout unless that is 0.
func withDevice(c *cli.Context, do func(ctx context.Context, settings *deviceSettings, device *client.Device) error) error {
	return withOpened(c, (*deviceSettings).open, do)
}

// withOpened runs do with the device in --dir, opened by open, within --timeout unless that is 0.
func withOpened(c *cli.Context, open func(*deviceSettings, context.Context, string) (*client.Device, error), do func(ctx context.Context, settings *deviceSettings, device *client.Device) error) error {
	settings, err := loadDevice(c.String("dir"))
	if err != nil {
		return err
	}
	ctx := c.Context
	if timeout := c.Duration("timeout"); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	device, err := open(settings, ctx, c.String("dir"))
	if err != nil {
		return err
	}
	defer device.Close()
	return unanswered(c, do(ctx, settings, device))
}

// unanswered turns err into a sentence if the mailserver did not answer within --timeout, and says why.
func unanswered(c *cli.Context, err error) error {
	var gaveUp *client.GaveUpError
	if !errors.As(err, &gaveUp) || !errors.Is(gaveUp.End, context.DeadlineExceeded) {
		return err
	}
	if gaveUp.Cause == nil {
		return fmt.Errorf("the mail server did not answer within the %s of --timeout", c.Duration("timeout"))
	}
	return fmt.Errorf("the mail server did not answer within the %s of --timeout, asked %d times: %w", c.Duration("timeout"), gaveUp.Attempts, gaveUp.Cause)
}

func deviceRegister(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	settings, err := registerSettings(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	source, err := settings.connect(ctx)
	if err != nil {
		return err
	}
	defer source.close()
	if err := settings.save(c.String("dir")); err != nil {
		return err
	}
	device, err := settings.open(ctx, c.String("dir"))
	if err != nil {
		return err
	}
	defer device.Close()
	routes, err := settings.routes(device)
	if err != nil {
		return err
	}
	err = device.Register(ctx, client.Registration{Routes: routes, Plain: settings.Plain, Group: settings.Group, Voucher: settings.Voucher})
	if err != nil {
		var gaveUp *client.GaveUpError
		if errors.As(err, &gaveUp) && gaveUp.Cause != nil {
			return fmt.Errorf("the mail server at --server did not answer: %w; is it running with --push, and are the enode URL and the push key right?", gaveUp.Cause)
		}
		return timedOut(ctx, err, "the mail server at --server did not answer; is it running with --push, and are the enode URL and the push key right?")
	}
	out := c.App.Writer
	proven, err := allProven(ctx, device)
	if err != nil {
		return err
	}
	if proven {
		fmt.Fprintln(out, "registered")
		return nil
	}
	if settings.byHand() {
		fmt.Fprintln(out, "registered; the push that comes now is the challenge: give its body to wnode device receive")
		return nil
	}
	fmt.Fprintln(out, "registered; waiting for the challenge")
	err = source.each(ctx, func(body []byte) error {
		event, err := device.Receive(ctx, body)
		if err != nil {
			return err
		}
		if event.Kind == pushwire.Challenge && device.Active() {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		return timedOut(ctx, err, "the challenge did not come; does the mail server have this provider, and can it reach this device?")
	}
	fmt.Fprintln(out, "confirmed: the device is woken from now on")
	return nil
}

// allProven reports whether no challenge will come: neither the device's connection nor an address that was proven
// before needs one.
func allProven(ctx context.Context, device *client.Device) (bool, error) {
	if !device.Active() {
		return false, nil
	}
	status, err := device.Status(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(status.Routes, func(r pushwire.RouteStatus) bool { return r.State == pushwire.Waiting }), nil
}

// errEnough ends waiting for pushes.
var errEnough = errors.New("enough pushes")

func deviceListen(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, settings *deviceSettings, device *client.Device) error {
		wait, hangUp, err := settings.ways(ctx, device)
		if err != nil {
			return err
		}
		defer hangUp()
		wanted, got := c.Int("count"), 0
		err = wait(ctx, func(body []byte) error {
			event, err := device.Receive(ctx, body)
			if !settings.Direct {
				device.Sleep()
			}
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(c.App.ErrWriter, "wnode: a push was not handled; the next one names the same messages: %s\n", node.Redact(err.Error()))
			}
			got += len(event.Previews)
			if err := showAll(ctx, c, device, event, nil); err != nil {
				return err
			}
			if wanted > 0 && got >= wanted {
				return errEnough
			}
			return nil
		})
		switch {
		case errors.Is(err, errEnough), c.Context.Err() != nil:
			return nil
		case ctx.Err() != nil && wanted > 0:
			return fmt.Errorf("%d of %d messages came in time", got, wanted)
		case ctx.Err() != nil:
			return nil
		}
		return err
	})
}

// waiting passes wake-ups to handle until ctx ends or handle returns an error.
type waiting func(ctx context.Context, handle func(body []byte) error) error

// errByHand says that nothing passes wake-ups to the device.
var errByHand = errors.New("this device gets its pushes by hand; give each body to wnode device receive")

// ways returns how the device receives its wake-ups: from the push service emulated for it, over its link to the
// mailserver, or both at once. The error is errByHand if there is neither. hangUp ends it.
func (s *deviceSettings) ways(ctx context.Context, device *client.Device) (wait waiting, hangUp func(), err error) {
	if !s.hears() {
		if s.Direct {
			return device.Listen, func() {}, nil
		}
		return nil, nil, errByHand
	}
	source, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	if s.Direct {
		return both(device.Listen, source.each), source.close, nil
	}
	return source.each, source.close, nil
}

// both waits for wake-ups in two ways at once, and ends when the first of them does. It never calls handle concurrently.
func both(a, b waiting) waiting {
	return func(ctx context.Context, handle func(body []byte) error) error {
		var one sync.Mutex
		ways, ctx := errgroup.WithContext(ctx)
		for _, way := range []waiting{a, b} {
			ways.Go(func() error {
				return way(ctx, func(body []byte) error {
					one.Lock()
					defer one.Unlock()
					if err := ctx.Err(); err != nil {
						return err // the other way has ended
					}
					return handle(body)
				})
			})
		}
		return ways.Wait()
	}
}

func deviceReceive(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(c.App.Reader, maxPushBody+1))
	if err != nil {
		return fmt.Errorf("read the push from standard input: %w", err)
	}
	if len(body) > maxPushBody {
		return fmt.Errorf("standard input has more than the %d bytes of a push", maxPushBody)
	}
	return withDevice(c, func(ctx context.Context, _ *deviceSettings, device *client.Device) error {
		event, err := device.Receive(ctx, body)
		if err == nil && event.Kind == pushwire.Challenge {
			_, err := fmt.Fprintln(c.App.Writer, "confirmed: the device is woken from now on")
			return err
		}
		return showAll(ctx, c, device, event, err)
	})
}

func deviceFetch(c *cli.Context) error {
	hashes, err := hashArguments(c)
	if err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, _ *deviceSettings, device *client.Device) error {
		event, err := device.Fetch(ctx, hashes)
		return showAll(ctx, c, device, event, err)
	})
}

func deviceHistory(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, _ *deviceSettings, device *client.Device) error {
		event, err := device.History(ctx)
		return showAll(ctx, c, device, event, err)
	})
}

func deviceSeen(c *cli.Context) error {
	hashes, err := hashArguments(c)
	if err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, _ *deviceSettings, device *client.Device) error {
		return device.Seen(ctx, hashes)
	})
}

func deviceUnregister(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, _ *deviceSettings, device *client.Device) error {
		if err := device.Unregister(ctx); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.App.Writer, "unregistered")
		return err
	})
}

// hashArguments reads envelope hashes.
func hashArguments(c *cli.Context) ([]common.Hash, error) {
	if c.NArg() == 0 {
		return nil, fmt.Errorf("%s needs the hash of at least one envelope", c.Command.HelpName)
	}
	var hashes []common.Hash
	for _, arg := range c.Args().Slice() {
		hash, err := hexutil.Decode(arg)
		if err != nil || len(hash) != common.HashLength {
			return nil, fmt.Errorf("%q is no envelope hash; give 0x and 64 hex digits", arg)
		}
		hashes = append(hashes, common.Hash(hash))
	}
	return hashes, nil
}
