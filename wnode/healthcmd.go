package wnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/wnode/health"
	"whisperpush/wnode/rpc"
)

const (
	// healthTimeout is how long the health command waits for the node.
	healthTimeout = health.Patience + 5*time.Second
	// maxHealthAnswer is how much of an answer it reads, in bytes.
	maxHealthAnswer = 1 << 20
)

func healthCommand() *cli.Command {
	return &cli.Command{
		Name:  "health",
		Usage: "ask the running node whether it is well, for supervisors without curl",
		Description: "It asks the metrics listener of the settings (--metrics.addr, --metrics.port) for /healthz, or with --ready for\n" +
			"/readyz, prints a line for each check, and exits with 0 if all is well and with 1 otherwise.\n\n" +
			"Example:\n   wnode health --ready --config /etc/whisperpush/node.toml",
		Flags: append(settingFlags(),
			&cli.BoolFlag{Name: "ready", Usage: "ask for all that the node is set up to do, not only for what a restart may mend", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Usage: "print the node's answer as it is", DisableDefaultText: true}),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			cfg, err := settingsOf(c)
			if err != nil {
				return err
			}
			answer, err := askHealth(c.Context, cfg.Metrics, c.Bool("ready"))
			if err != nil {
				return err
			}
			return printHealth(c.App.Writer, answer, c.Bool("json"))
		},
	}
}

// askHealth returns the answer of a running node, whatever its status.
func askHealth(ctx context.Context, settings config.Metrics, ready bool) ([]byte, error) {
	path := "/healthz"
	if ready {
		path = "/readyz"
	}
	addr := rpc.HostPort(settings.Addr, settings.Port)
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no node answers at %s; start it with --metrics, and give --metrics.addr and --metrics.port as it has them", addr)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxHealthAnswer))
	if err != nil {
		return nil, fmt.Errorf("the node at %s stopped in the middle of its answer", addr)
	}
	return body, nil
}

// printHealth prints a report. The error says that checks failed.
func printHealth(w io.Writer, answer []byte, asIs bool) error {
	var report health.Report
	if err := json.Unmarshal(answer, &report); err != nil || report.Status == "" {
		return errors.New("what answers there is no node; give --metrics.addr and --metrics.port as the node has them")
	}
	var text strings.Builder
	failed := 0
	for _, check := range report.Checks {
		if check.OK {
			fmt.Fprintf(&text, "ok   %s\n", check.Name)
			continue
		}
		failed++
		fmt.Fprintf(&text, "BAD  %s: %s\n", check.Name, check.Reason)
	}
	for _, note := range report.Notes {
		fmt.Fprintf(&text, "note %s\n", note)
	}
	if asIs {
		text.Reset()
		text.Write(answer)
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return err
	}
	if !report.OK() {
		return fmt.Errorf("%d of %d checks failed", failed, len(report.Checks))
	}
	return nil
}
