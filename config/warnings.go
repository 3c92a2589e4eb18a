package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// promised is within how long a wake-up is to be accepted; blurLeft is what Jitter and Batch may take of it.
const (
	promised = 15 * time.Second
	blurLeft = 10 * time.Second
)

// Warnings are sentences about settings that are allowed and probably not meant: what is odd, and what to do. They
// suppose that Validate found nothing.
func (c *Config) Warnings() []string {
	var all []string
	warn := func(odd bool, format string, args ...any) {
		if odd {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	d := Defaults()
	mail := c.Mailserver.Enabled || c.Push.Enabled
	warn(!mail && c.Mailserver.PasswordFile != "",
		"Mailserver.PasswordFile (--mailserver.password) means nothing without --mailserver or --push; add one, or leave it out")
	warn(!mail && c.Mailserver.Retention != d.Mailserver.Retention,
		"Mailserver.Retention (--mailserver.retention) means nothing without --mailserver or --push; add one, or leave it out")
	warn(!c.Push.Enabled && len(c.Push.Provider) > 0,
		"there are [[Push.Provider]] tables and push is off; add --push, or Enabled = true in [Push]")
	warn(!c.RPC.HTTP.Enabled && !slices.Equal(c.RPC.HTTP.API, d.RPC.HTTP.API),
		"RPC.HTTP.API (--http.api) means nothing without --http; add it, or leave the names out")
	warn(!c.RPC.WS.Enabled && !slices.Equal(c.RPC.WS.API, d.RPC.WS.API),
		"RPC.WS.API (--ws.api) means nothing without --ws; add it, or leave the names out")
	blur := time.Duration(c.Push.Delivery.Jitter + c.Push.Delivery.Batch)
	warn(c.Push.Enabled && blur > blurLeft,
		"Push.Delivery.Jitter and Batch delay wake-ups by up to %v, and %v are promised in all; together they should be %v at most", Duration(blur), Duration(promised), Duration(blurLeft))
	warn(c.RPC.HTTP.Enabled && !onlyHere(c.RPC.HTTP.Addr) && slices.Contains(c.RPC.HTTP.API, "admin"),
		"RPC.HTTP serves the namespace admin on %s, where other computers reach it; leave admin out, or set --http.addr 127.0.0.1", c.RPC.HTTP.Addr)
	warn(c.RPC.WS.Enabled && !onlyHere(c.RPC.WS.Addr) && slices.Contains(c.RPC.WS.API, "admin"),
		"RPC.WS serves the namespace admin on %s, where other computers reach it; leave admin out, or set --ws.addr 127.0.0.1", c.RPC.WS.Addr)
	warn(c.RPC.HTTP.Enabled && (slices.Contains(c.RPC.HTTP.VHosts, "*") || slices.Contains(c.RPC.HTTP.CORSDomain, "*")),
		"RPC.HTTP answers any web page (VHosts or CORSDomain is *); name the hosts and origins that may call")
	warn(c.RPC.WS.Enabled && slices.Contains(c.RPC.WS.Origins, "*"),
		"RPC.WS answers any web page (Origins is *); name the origins that may connect")
	return all
}

// onlyHere reports whether no other computer reaches what listens on addr.
func onlyHere(addr string) bool {
	if addr == "" || strings.EqualFold(addr, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	return err == nil && ip.IsLoopback()
}
