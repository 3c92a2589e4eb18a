package wnode

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"whisperpush/pushext/emulate"
	"whisperpush/wnode/rpc"
)

// maxEmulatedDevices bounds --devices: more than fit on a screen can be made over the control interface.
const maxEmulatedDevices = 1000

func emulateCommand() *cli.Command {
	command := &cli.Command{
		Name:      "emulate",
		Usage:     "run an emulated push service, to test without an account at the real one",
		UsageText: "wnode emulate <type> [flags]",
		Description: "The emulated service is as strict as the real one: it checks credentials, signatures, schemas and sizes. It\n" +
			"prints its URL, the [[Push.Provider]] table for a node's --config file and the addresses of new devices, and then\n" +
			"a line for each push it accepts, until it is interrupted.",
	}
	for _, kind := range emulate.Types() {
		command.Subcommands = append(command.Subcommands, &cli.Command{
			Name:      kind,
			Usage:     "run an emulated " + kind,
			UsageText: "wnode emulate " + kind + " [flags]",
			Description: "A device of it is played by wnode device register --emulator URL, or by your app's own code over HTTP:\n" +
				"   curl -X POST   URL" + emulate.ControlPath + "devices            registers a device and prints its address\n" +
				"   curl -N        URL" + emulate.ControlPath + "pushes?token=T     its pushes as JSON lines\n" +
				"   curl -X DELETE URL" + emulate.ControlPath + "devices?token=T    the user removed the app\n" +
				"   curl -d '[{\"status\":503}]' URL" + emulate.ControlPath + "script?token=T    its next pushes fail; a service with codes\n" +
				"                                                 of its own takes {\"code\":\"…\"} too\n\n" +
				"A failure is what the service answers: its own error code or an HTTP status, hang or reset; then how many times\n" +
				"(0 is always) and what Retry-After says, in seconds.\n\n" +
				"Example:\n   wnode emulate " + kind + " --addr 127.0.0.1:9001 --credentials . --devices 2 --fail 503:5 --fail 429:1:30",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "addr", Usage: "`ADDRESS` to listen on, host:port; port 0 is any free one", Value: "127.0.0.1:0"},
				&cli.StringFlag{Name: "credentials", Usage: "`DIRECTORY` for the files that the node's provider reads"},
				&cli.IntFlag{Name: "devices", Usage: "register and print this `NUMBER` of devices", Value: 1},
				&cli.StringSliceFlag{Name: "fail", Usage: "answer the next pushes with `FAILURE[:TIMES[:SECONDS]]`; may be repeated"},
			},
			Action: func(c *cli.Context) error {
				if err := noArguments(c); err != nil {
					return err
				}
				return runEmulator(c.Context, kind, c)
			},
		})
	}
	return command
}

func runEmulator(ctx context.Context, kind string, c *cli.Context) error {
	devices := c.Int("devices")
	if devices < 0 || devices > maxEmulatedDevices {
		return fmt.Errorf("--devices is %d; give 0 to %d", devices, maxEmulatedDevices)
	}
	service, err := emulate.Start(kind, c.String("addr"))
	if err != nil {
		return rpc.ListenError(err, "the emulated "+kind, rpc.PortOf(c.String("addr")), "addr", "addr")
	}
	defer service.Close()
	failures, err := parseFailures(c.StringSlice("fail"), service.Codes)
	if err != nil {
		return err
	}
	paths, err := writeCredentials(c.String("credentials"), service.Files)
	if err != nil {
		return err
	}
	if len(failures) > 0 {
		service.Script("", failures...)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "url:    %s\n", service.URL())
	for range devices {
		device, err := service.NewDevice()
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "device: %s%s\n", device.Address, deviceKeys(device))
	}
	fmt.Fprintf(&text, "\n%s\n", service.Table(paths))
	// Before the text is out, because its reader may push at once.
	out := c.App.Writer
	service.Watch(func(p emulate.Push) { logPush(out, p) })
	fmt.Fprint(out, text.String())
	<-ctx.Done()
	fmt.Fprintf(out, "%d pushes accepted\n", service.Accepted())
	return nil
}

// writeCredentials writes the files that a node reads to the directory of --credentials, and returns the path of each.
func writeCredentials(dir string, files map[string]emulate.File) (map[string]string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	if dir == "" {
		return nil, errors.New("--credentials is missing; give a directory for the files that the node's provider reads")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	paths, err := emulate.WriteFiles(dir, files)
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--credentials: cannot write %q: %w", failed.Path, failed.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("--credentials: there is no directory %q", dir)
	}
	return paths, nil
}

// deviceKeys are the keys of a device's address, base64url.
func deviceKeys(d emulate.Device) string {
	var b strings.Builder
	for _, key := range d.Keys {
		b.WriteString("  " + base64.RawURLEncoding.EncodeToString(key))
	}
	return b.String()
}

// logPush prints one accepted push. An emulator's tokens reach nobody, so they may be shown.
func logPush(w io.Writer, p emulate.Push) {
	urgency, sight := "normal", "silent"
	if p.Urgent {
		urgency = "urgent"
	}
	if p.Visible {
		sight = "visible"
	}
	fmt.Fprintf(w, "%s push of %d bytes to %.24s… %s, %s, ttl %v, collapse id %.12s…\n",
		p.At.Format("15:04:05.000"), len(p.Body), p.Token, urgency, sight, p.TTL, p.CollapseID)
}

// parseFailures reads --fail: FAILURE[:TIMES[:SECONDS]]. codes are the service's own.
func parseFailures(list, codes []string) ([]emulate.Answer, error) {
	var answers []emulate.Answer
	for _, text := range list {
		what, rest, _ := strings.Cut(text, ":")
		times, seconds, _ := strings.Cut(rest, ":")
		wrong := func(why string) ([]emulate.Answer, error) {
			return nil, fmt.Errorf("--fail %q: %s; give it like 503, 503:5 or 429:1:30", text, why)
		}
		var a emulate.Answer
		switch status, err := strconv.Atoi(what); {
		case what == "":
			return wrong("it names no failure")
		case what == "hang":
			a.Hang = true
		case what == "reset":
			a.Reset = true
		case err == nil && (status < 200 || status > 599):
			return wrong("an HTTP status is from 200 to 599")
		case err == nil:
			a.Status = status
		case !slices.Contains(codes, what):
			known := append([]string{"hang", "reset", "an HTTP status"}, codes...)
			return wrong("it is none of " + strings.Join(known, ", "))
		default:
			a.Code = what
		}
		if times != "" {
			n, err := strconv.Atoi(times)
			if err != nil || n < 0 {
				return wrong(fmt.Sprintf("%q is no number of times", times))
			}
			if a.Times = n; n == 0 {
				a.Times = -1
			}
		}
		if seconds != "" {
			if _, err := strconv.ParseUint(seconds, 10, 31); err != nil {
				return wrong(fmt.Sprintf("%q is no number of seconds", seconds))
			}
			a.RetryAfter = seconds
		}
		answers = append(answers, a)
	}
	return answers, nil
}
