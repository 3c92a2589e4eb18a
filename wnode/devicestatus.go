package wnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
)

func deviceShow(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, settings *deviceSettings, device *client.Device) error {
		status, err := device.Status(ctx)
		if err != nil && status.State == pushwire.None {
			return err
		}
		out := c.App.Writer
		fmt.Fprintf(out, "state:    %s\n", status.State)
		if status.Reason != "" {
			fmt.Fprintf(out, "reason:   %s\n", status.Reason)
		}
		if status.Expires > 0 {
			fmt.Fprintf(out, "expires:  %s\n", time.Unix(int64(status.Expires), 0).Format(time.DateTime))
		}
		fmt.Fprintf(out, "wake-ups: %d\n", status.Seq)
		for _, route := range status.Routes {
			fmt.Fprintf(out, "route:    %s %s%s\n", route.Provider, route.State, doubtHelp(route))
		}
		names := map[string]string{}
		for _, chat := range settings.Chats {
			names[chat.Topic.String()] = chat.Name
		}
		for _, channel := range status.Channels {
			fmt.Fprintf(out, "channel:  %s %s\n", channel.Topic, names[channel.Topic.String()])
		}
		return nil
	})
}

func deviceStatus(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, _ *deviceSettings, device *client.Device) error {
		status, err := device.Status(ctx)
		if err != nil && !client.IsRefused(err, pushwire.NotRegistered) {
			return err
		}
		for _, line := range status.Explain(time.Now()) {
			if _, err := fmt.Fprintln(c.App.Writer, line); err != nil {
				return err
			}
		}
		return nil
	})
}

// testSettled is how long push services may take to report on a test push that does not arrive here.
const testSettled = 5 * time.Second

func deviceTestPush(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	return withDevice(c, func(ctx context.Context, settings *deviceSettings, device *client.Device) error {
		out := c.App.Writer
		wait, hangUp, err := settings.ways(ctx, device)
		switch {
		case err == nil:
			defer hangUp()
		case !errors.Is(err, errByHand):
			return err
		}
		status, err := device.TestPush(ctx)
		if err != nil {
			return err
		}
		switch {
		case status.State != pushwire.Active:
			return errors.New("no test push was sent: " + status.Explain(time.Now())[0])
		case status.Delivery == nil:
			return errors.New("the mail server sends no test pushes; it is of an earlier version")
		}
		sent := 0
		for _, route := range status.Delivery.Routes {
			if route.Outcome == pushwire.TestWaiting || route.Outcome == pushwire.TestAccepted {
				sent++
			}
		}
		fmt.Fprintf(out, "asked for test pushes on %d routes\n", sent)
		patience, arrived := testSettled, 0
		if wait != nil && c.Duration("timeout") > 2*testSettled {
			patience = c.Duration("timeout") - testSettled
		}
		waited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if wait != nil && sent > 0 {
			err = wait(waited, func(body []byte) error {
				event, err := device.Receive(ctx, body)
				if err == nil && event.Kind == pushwire.Canary {
					arrived++
				}
				if arrived == sent {
					return errEnough
				}
				return nil // the next push names anything else again
			})
			if err != nil && !errors.Is(err, errEnough) && waited.Err() == nil {
				return err
			}
			fmt.Fprintf(out, "%d of %d test pushes arrived\n", arrived, sent)
		} else {
			<-waited.Done()
		}
		if status, err = device.Status(ctx); err != nil {
			return err
		}
		for _, line := range status.Explain(time.Now()) {
			fmt.Fprintln(out, line)
		}
		return nil
	})
}

// doubtHelp is what else there is to say about a route.
func doubtHelp(route pushwire.RouteStatus) string {
	switch {
	case route.Doubt > 0:
		return fmt.Sprintf(", in doubt since %s: its push service says that the address is gone (%s), and is not believed yet; register again with a new address",
			time.Unix(int64(route.Doubt), 0).Format(time.DateTime), route.Reason)
	case route.Reason != "":
		return " " + route.Reason
	}
	return ""
}
