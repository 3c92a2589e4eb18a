package wnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/wnode/rpc"
)

// askTimeout is how long a command waits for the running node.
const askTimeout = time.Minute

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "have the running node read its settings and credentials anew",
		Description: "The node reads the settings file that it was started with, and every file that this names: passwords,\n" +
			"credentials, certificates. It takes all of it or nothing, without losing a peer or a wake-up. The command\n" +
			"prints what changed, a line each; if nothing was taken it says why, and exits with 1. SIGHUP does the same,\n" +
			"and says it in the log.\n\n" +
			"Taken are [Push.Limits], [Push.Delivery], Push.KeyOverlap, the settings and credentials of each [[Push.Provider]],\n" +
			"providers that are new or gone, the limits of [Shh] and [Mailserver], Door.App, Door.CertFile, Door.KeyFile, Door.Rings\n" +
			"and Door.ForwardedFor, Log.Verbosity, and the status page's password. The rest needs a restart, and so do another type or\n" +
			"VAPID key of a provider and changes of one of type direct: the node names what it cannot take.\n\n" +
			"Example:\n   wnode reload --config /etc/whisperpush/node.toml",
		Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			var changed []string
			if err := askNode(c, &changed, "wnode_reload"); err != nil {
				return err
			}
			return printReload(c.App.Writer, changed, c.Bool("json"))
		},
	}
}

func printReload(w io.Writer, changed []string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Changed []string `json:"changed"`
		}{changed})
	}
	text := "nothing has changed\n"
	if len(changed) > 0 {
		text = strings.Join(changed, "\n") + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// jsonFlag is the flag of commands that can also print for programs.
func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON", DisableDefaultText: true}
}

// socketOf is the local socket of the node that the command's settings describe. Other faults in the settings are
// ignored: the command may be there to fix them.
func socketOf(c *cli.Context) (string, error) {
	cfg, _, faults := readSettings(c)
	if len(faults) > 0 && cfg.Node.DataDir == config.DefaultDataDir() && cfg.RPC.IPCPath == config.Defaults().RPC.IPCPath {
		return "", faults[0] // the settings may say where the socket is
	}
	if cfg.RPC.IPCDisable {
		return "", errors.New("the settings keep the node's local socket closed (RPC.IPCDisable), by which it could be asked; open it and restart the node")
	}
	return rpc.SocketPath(cfg), nil
}

// askNode calls a method of the running node over its local socket. The error is the node's sentence, or says that no
// node answers.
func askNode(c *cli.Context, into any, method string, args ...any) error {
	path, err := socketOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, askTimeout)
	defer cancel()
	client, err := gethrpc.DialIPC(ctx, path)
	if err != nil {
		return fmt.Errorf("no node answers at %s; start it, run the command as the node's user, and give --datadir, --ipcpath or --config as the node has them", path)
	}
	defer client.Close()
	err = client.CallContext(ctx, into, method, args...)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the node at %s gave no answer within %v; see its log", path, askTimeout)
	}
	return err
}
