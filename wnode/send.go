package wnode

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/urfave/cli/v2"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
	"whisperpush/whisper/uplink"
	"whisperpush/wnode/node"
)

// maxPayload bounds what send reads from standard input: the most that the protocol's largest envelope can hold.
const maxPayload = whisper.MaxMessageSizeLimit

func sendCommand() *cli.Command {
	return &cli.Command{
		Name:      "send",
		Usage:     "send one Whisper message through a node",
		UsageText: "wnode send --server ENODE --topic TOPIC (--password WORDS | --key FILE | --to PUBKEY) [flags]",
		Description: "It connects to the node with a key made for the occasion, does the proof of work the node asks for,\n" +
			"hands over the message and prints the hash of its envelope.\n\n" +
			"Examples:\n" +
			"   wnode send --server enode://…@127.0.0.1:30303 --topic family --password 'our secret' --payload 'Dinner at 7'\n" +
			"   echo hello | wnode send --server enode://…@127.0.0.1:30303 --topic 0x5a4ea131 --to 0x04…",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "server", Usage: "`ENODE` URL of the node to hand the message to"},
			&cli.StringFlag{Name: "topic", Usage: "`TOPIC`: 4 bytes as 0x and 8 hex digits, or a name to make them of"},
			&cli.StringFlag{Name: "password", Usage: "encrypt with the key made of these `WORDS`; others on this computer can see them"},
			&cli.StringFlag{Name: "key", Usage: "encrypt with the symmetric key in this `FILE`, 64 hex digits"},
			&cli.StringFlag{Name: "to", Usage: "encrypt to this `PUBKEY` in hex"},
			&cli.StringFlag{Name: "payload", Usage: "the message, `TEXT` (default: what standard input holds)"},
			&cli.StringFlag{Name: "sign", Usage: "sign with the secp256k1 private key in this `FILE`, 64 hex digits"},
			&cli.UintFlag{Name: "ttl", Usage: "how long the message lives in the network, in `SECONDS`", Value: whisper.DefaultTTL},
			&cli.Float64Flag{Name: "pow", Usage: "proof of work, a `NUMBER`", DefaultText: "what the node asks for"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up after this `DURATION`", Value: time.Minute},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			server, draft, err := sendParameters(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			env, err := sendMessage(ctx, server, draft, c.IsSet("pow"))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "sent %s\n", env.Hash())
			if err == nil {
				_, err = fmt.Fprintln(c.App.ErrWriter, "The node has it. Whether it was archived cannot be told: Whisper has no receipt for that.")
			}
			return err
		},
	}
}

// sendParameters reads the flags of send.
func sendParameters(c *cli.Context) (server *enode.Node, draft whisper.Draft, err error) {
	if server, err = nodeFlag(c, "server"); err != nil {
		return nil, draft, err
	}
	if draft.Topic, err = topicFlag(c, "topic"); err != nil {
		return nil, draft, err
	}
	if err := encryptionFlags(c, &draft); err != nil {
		return nil, draft, err
	}
	if path := c.String("sign"); path != "" {
		secret, err := secretFlag(c, "sign")
		if err != nil {
			return nil, draft, err
		}
		if draft.Sign, err = crypto.ToECDSA(secret); err != nil {
			return nil, draft, fmt.Errorf("--sign: the key in %q is no secp256k1 private key", path)
		}
	}
	draft.PoW = c.Float64("pow")
	if draft.PoW < 0 || math.IsInf(draft.PoW, 0) || math.IsNaN(draft.PoW) {
		return nil, draft, fmt.Errorf("--pow is %v; give a number from 0", draft.PoW)
	}
	ttl := c.Uint("ttl")
	if ttl == 0 || ttl > math.MaxInt32 {
		return nil, draft, fmt.Errorf("--ttl is %d; give at least 1 second", ttl)
	}
	draft.TTL = uint32(ttl)
	if c.IsSet("payload") {
		draft.Payload = []byte(c.String("payload"))
		return server, draft, nil
	}
	draft.Payload, err = io.ReadAll(io.LimitReader(c.App.Reader, maxPayload+1))
	if err != nil {
		return nil, draft, fmt.Errorf("read the message from standard input: %w", err)
	}
	if len(draft.Payload) > maxPayload {
		return nil, draft, fmt.Errorf("the message on standard input has more than %d bytes, the most an envelope holds", maxPayload)
	}
	return server, draft, nil
}

// nodeFlag reads a required flag that names a node.
func nodeFlag(c *cli.Context, flag string) (*enode.Node, error) {
	url := c.String(flag)
	if url == "" {
		return nil, fmt.Errorf("--%s is missing; give the enode URL that the node printed when it started", flag)
	}
	node, err := enode.ParseV4(url)
	if err != nil || node.TCP() == 0 {
		return nil, fmt.Errorf("--%s is no enode URL; give the one that the node printed when it started", flag)
	}
	return node, nil
}

// serverFlag reads a required flag that names a mailserver for a device.
func serverFlag(c *cli.Context, flag string) (string, error) {
	url := c.String(flag)
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		_, err := nodeFlag(c, flag)
		return url, err
	}
	if err := client.CheckServer(url); err != nil {
		return "", fmt.Errorf("--%s: %s", flag, strings.TrimPrefix(err.Error(), "client: "))
	}
	return url, nil
}

// topicFlag reads a required flag with a topic, or with a name to make one from.
func topicFlag(c *cli.Context, flag string) (whisper.Topic, error) {
	text := c.String(flag)
	if text == "" {
		return whisper.Topic{}, fmt.Errorf("--%s is missing; give 0x and 8 hex digits, or a name", flag)
	}
	return parseTopic(text, flag)
}

func parseTopic(text, flag string) (whisper.Topic, error) {
	if !strings.HasPrefix(text, "0x") {
		return whisper.TopicFor(text), nil
	}
	topic, err := whisper.ParseTopic(text)
	if err != nil {
		return topic, fmt.Errorf("--%s is %q; give 0x and 8 hex digits, or a name that does not begin with 0x", flag, text)
	}
	return topic, nil
}

// encryptionFlags reads which of the three keys to encrypt with.
func encryptionFlags(c *cli.Context, draft *whisper.Draft) (err error) {
	given := 0
	for _, flag := range []string{"password", "key", "to"} {
		if c.String(flag) != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("a message is encrypted one way; give exactly one of --password, --key and --to")
	}
	switch {
	case c.String("password") != "":
		draft.Key = whisper.KeyFromPassword(c.String("password"))
	case c.String("key") != "":
		draft.Key, err = secretFlag(c, "key")
	default:
		public, err := hex.DecodeString(strings.TrimPrefix(c.String("to"), "0x"))
		if err == nil && len(public) == 33 {
			draft.To, err = crypto.DecompressPubkey(public)
		} else if err == nil {
			draft.To, err = crypto.UnmarshalPubkey(public)
		}
		if err != nil {
			return errors.New("--to is no public key; give 65 or 33 bytes in hex")
		}
	}
	return err
}

// secretFlag reads the 32 bytes, in hex, from the file that a flag names.
func secretFlag(c *cli.Context, flag string) ([]byte, error) {
	return node.ReadSecret(c.String(flag), "--"+flag)
}

// sendMessage connects to server and seals the message with the proof of work that server requires, unless the draft's
// is fixed. It returns when the envelope is on the wire.
func sendMessage(ctx context.Context, server *enode.Node, draft whisper.Draft, fixedWork bool) (*whisper.Envelope, error) {
	sender, hangUp, err := dial(ctx, server)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	minPoW := 0.0
	for _, peer := range sender.Peers() {
		minPoW = peer.MinPoW
	}
	switch {
	case !fixedWork:
		draft.PoW = minPoW
	case draft.PoW < minPoW:
		return nil, fmt.Errorf("--pow is %g, and the node takes no message with less than %g", draft.PoW, minPoW)
	}
	draft.MaxSize = whisper.DefaultMaxMessageSize
	env, err := whisper.Seal(ctx, draft)
	if errors.Is(err, whisper.ErrTooLarge) {
		return nil, fmt.Errorf("the message is too large, nodes take up to 1 MiB; send less: %w", err)
	}
	if err != nil {
		return nil, timedOut(ctx, err, "the proof of work was not done in time; give more --timeout or less --pow")
	}
	if err := sender.SendMessages(ctx, server.ID(), env); err != nil {
		return nil, fmt.Errorf("the node hung up before it had the message; see its log, or try again: %w", err)
	}
	return env, nil
}

// dial connects to server with a key made for this connection, as a light node that wants none of the network's
// messages.
func dial(ctx context.Context, server *enode.Node) (_ *whisper.Node, hangUp func(), err error) {
	sender, err := whisper.NewNode(whisper.Config{Bloom: new(whisper.Bloom), LightNode: true})
	if err != nil {
		return nil, nil, err
	}
	if err := sender.Start(); err != nil {
		return nil, nil, err
	}
	link, err := dialUntil(ctx, uplink.Config{Node: sender, Server: server, Name: node.ClientName()})
	if err != nil {
		sender.Stop()
		return nil, nil, fmt.Errorf("there is no connection to the node at --server: %w; is it running, and is the enode URL right?", err)
	}
	return sender, func() { link.Close(); sender.Stop() }, nil
}

// redialEvery is how soon a node that hung up is dialled again: a node accepts one connection from an address in 30 s.
const redialEvery = 5 * time.Second

// dialUntil dials again as long as waiting may help: the node was reached and hung up.
func dialUntil(ctx context.Context, cfg uplink.Config) (*uplink.Link, error) {
	for {
		link, err := uplink.Dial(ctx, cfg)
		if err == nil || ctx.Err() != nil || !errors.Is(err, uplink.ErrBroken) && !errors.Is(err, uplink.TooManyPeers) {
			return link, err
		}
		select {
		case <-time.After(redialEvery):
		case <-ctx.Done():
			return nil, err // says more than that time is up
		}
	}
}

// timedOut returns sentence as an error if ctx ran out of time, otherwise err.
func timedOut(ctx context.Context, err error, sentence string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New(sentence)
	}
	return err
}
