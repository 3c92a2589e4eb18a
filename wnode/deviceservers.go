package wnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/urfave/cli/v2"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/servers"
)

const (
	serversFile = "servers.json"
	// measured is how many servers, the best as far as known, are asked for their round trip. The others are only
	// hearsay.
	measured = 8
)

func serversFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "through", Usage: "listen through the Whisper node with this `ENODE` URL; may be repeated"},
		&cli.StringSliceFlag{Name: "provider", Usage: "only servers that have a provider of this `NAME`; may be repeated"},
		&cli.BoolFlag{Name: "free", Usage: "only servers that cost nothing", DisableDefaultText: true},
		&cli.BoolFlag{Name: "private", Usage: "also servers in private networks", DisableDefaultText: true},
		&cli.DurationFlag{Name: "listen", Usage: "listen for this `DURATION`; servers announce themselves every few minutes", Value: 10 * time.Second},
	}
}

// deviceServers listens for servers, measures the best, and lists them. It keeps what it learns about them.
func deviceServers(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	list := &servers.List{Private: c.Bool("private")}
	store := client.FileStore(filepath.Join(c.String("dir"), serversFile))
	if err := list.Load(c.Context, store); err != nil {
		return err
	}
	if through := c.StringSlice("through"); len(through) > 0 {
		ctx, cancel := context.WithTimeout(c.Context, c.Duration("listen"))
		defer cancel()
		err := client.Discover(ctx, through, nil, func(d client.Discovered) bool {
			_ = list.Add(d, time.Now()) // otherwise it is useless, or known
			return false
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	need := servers.Need{Providers: c.StringSlice("provider"), Free: c.Bool("free")}
	for i, candidate := range list.Rank(need, time.Now()) {
		if i == measured {
			break
		}
		ctx, cancel := context.WithTimeout(c.Context, 5*time.Second)
		_, _ = list.Measure(ctx, candidate) // the result is recorded
		cancel()
	}
	ranked := list.Rank(need, time.Now())
	if len(ranked) == 0 {
		return errors.New("no server was heard of; name nodes of the network with --through, and listen for some minutes with --listen")
	}
	for _, s := range ranked {
		if err := printCandidate(c, s); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.String("dir"), 0o700); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	return list.Save(c.Context, store)
}

func printCandidate(c *cli.Context, s servers.Candidate) error {
	price, trip := s.Offer.Price, "not measured"
	if price == "" {
		price = "free"
	}
	if s.RoundTrip > 0 {
		trip = s.RoundTrip.Round(time.Millisecond).String()
	}
	var providers []string
	for _, p := range s.Offer.Providers {
		providers = append(providers, p.Name)
	}
	_, err := fmt.Fprintf(c.App.Writer, "%s, %d of %d answered, %q, %d topics, %s\n  --server %s --pushkey 0x%s\n",
		trip, s.Answered, s.Asked, price, s.Offer.Limits.Channels, strings.Join(providers, " "), s.Offer.Enode, s.PushKey)
	return err
}

// deviceMove registers with another server, and ends the former registration once the new server wakes the device.
func deviceMove(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	server, err := serverFlag(c, "server")
	if err != nil {
		return err
	}
	key, err := client.ParsePublicKey(c.String("pushkey"))
	if err != nil {
		return errors.New("--pushkey is no public key; give the one that the mail server printed when it started")
	}
	return withDevice(c, func(ctx context.Context, former *deviceSettings, from *client.Device) error {
		next := *former
		next.Server, next.PushKey = server, hexutil.Encode(crypto.CompressPubkey(key))
		source, err := next.connect(ctx)
		if err != nil {
			return err
		}
		defer source.close()
		to, err := next.open(ctx, c.String("dir"))
		if err != nil {
			return err
		}
		defer to.Close()
		several := servers.New()
		if err := several.Add(former.PushKey, from); err != nil {
			return err
		}
		routes, err := next.routes(to)
		if err != nil {
			return err
		}
		if err := several.Move(ctx, next.PushKey, to, client.Registration{Routes: routes, Plain: next.Plain, Group: next.Group, Voucher: next.Voucher}); err != nil {
			return err
		}
		// From here on the next server may wake the device.
		if err := next.save(c.String("dir")); err != nil {
			return err
		}
		moved := func() bool { return len(several.Servers()) == 1 }
		show := func(event client.Event, err error) error {
			if err := errors.Join(printEvent(c, event), err); err != nil {
				return err
			}
			return several.Shown(ctx, event.Hashes()...)
		}
		if to.Active() {
			err = show(several.History(ctx))
		} else {
			err = source.each(ctx, func(body []byte) error {
				if err := show(several.Receive(ctx, body)); err != nil {
					return err
				}
				if moved() {
					return errEnough
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, errEnough) {
			return timedOut(ctx, err, "the challenge did not come; does the mail server have this provider, and can it reach this device?")
		}
		_, err = fmt.Fprintln(c.App.Writer, "moved: the next server wakes the device from now on")
		return err
	})
}
