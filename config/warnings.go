package config

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	// promised is within how long a wake-up is to be accepted.
	promised = 15 * time.Second
	// mostBlur is what Jitter and Batch may take of that, and LinkDelay before the next route is tried.
	mostBlur = 10 * time.Second
)

// Warnings are sentences about settings that are allowed and probably not meant: what is odd, and what to do. They
// suppose that Validate found nothing.
func (c *Config) Warnings() []string {
	w := new(warnings)
	w.idle(c)
	if c.Push.Enabled {
		w.push(c)
	}
	if http := c.RPC.HTTP; http.Enabled {
		w.reach("RPC.HTTP", "--http.addr", http.Addr, http.API)
		w.when(slices.Contains(http.CORSDomain, "*"), "RPC.HTTP.CORSDomain (--http.corsdomain) is *, so any web page that somebody on this computer opens may call; name the origins that may")
		w.when(slices.Contains(http.VHosts, "*"), "RPC.HTTP.VHosts (--http.vhosts) is *, so a web page may call under a host name of its own; name the hosts that may be called")
	}
	if ws := c.RPC.WS; ws.Enabled {
		w.reach("RPC.WS", "--ws.addr", ws.Addr, ws.API)
		w.when(slices.Contains(ws.Origins, "*"), "RPC.WS.Origins (--ws.origins) is *, so any web page that somebody on this computer opens may connect; name the origins that may")
	}
	return *w
}

type warnings []string

func (w *warnings) when(odd bool, format string, args ...any) {
	if odd {
		*w = append(*w, fmt.Sprintf(format, args...))
	}
}

// push warns of what keeps the push server from what it promises.
func (w *warnings) push(c *Config) {
	d := c.Push.Delivery
	blur := time.Duration(d.Jitter + d.Batch)
	w.when(blur > mostBlur, "Push.Delivery.Jitter and Batch delay wake-ups by up to %v, and %v are promised in all; give at most %v together",
		Duration(blur), Duration(promised), Duration(mostBlur))
	w.when(time.Duration(d.Every) > promised, "Push.Delivery.Every is %v, so a message may wait longer than the %v promised; give at most that", d.Every, Duration(promised))
	for _, p := range c.Push.Provider {
		w.when(time.Duration(p.Every) > promised, "Every of the provider %q is %v, so a message may wait longer than the %v promised; give at most that", p.Name, p.Every, Duration(promised))
	}
	direct := slices.ContainsFunc(c.Push.Provider, func(p Provider) bool { return p.Type == "direct" })
	w.when(direct && time.Duration(d.LinkDelay) > mostBlur, "Push.Delivery.LinkDelay is %v, which leaves the next route too little of the %v promised; give at most %v",
		d.LinkDelay, Duration(promised), Duration(mostBlur))
	kept := c.Mailserver.Retention
	w.when(kept > 0 && kept < d.TTL, "Mailserver.Retention (--mailserver.retention) is %v and Push.Delivery.TTL %v, so a device may be woken for mail that is gone; keep mail for longer, or wake for less", kept, d.TTL)
	w.when(len(c.Push.SkipChallenge) > 0, "Push.SkipChallenge lists %s, so anybody can have pushes sent to an address of others; leave it empty outside of a test network", strings.Join(c.Push.SkipChallenge, ", "))
}

// reach warns of JSON-RPC that other computers reach and that gives away keys or the node.
func (w *warnings) reach(table, flag, addr string, namespaces []string) {
	var give []string
	for _, name := range namespaces {
		if name == "shh" || name == "shhext" || name == "push" || name == "admin" {
			give = append(give, name)
		}
	}
	w.when(len(give) > 0 && !loopback(addr), "%s serves %s on %s, where other computers may read the node's keys and command it; set %s 127.0.0.1, or let a firewall decide who gets there",
		table, strings.Join(give, " and "), addr, flag)
}

// idle warns of settings that mean nothing as what they are of is off.
func (w *warnings) idle(c *Config) {
	d := Defaults()
	w.when(c.Node.Store != "" && !c.Mailserver.Enabled && !c.Push.Enabled, "%s means nothing without --mailserver or --push (Enabled in [Mailserver] or [Push]); add that, or leave it out", withFlag("Node.Store"))
	w.when(c.Node.Store == "" && c.Node.StorePasswordFile != "", "%s means nothing without %s; add that, or leave it out", withFlag("Node.StorePasswordFile"), withFlag("Node.Store"))
	w.when(c.Node.Store != "" && insecure(c.Node.Store), "%s does not demand TLS (sslmode=verify-full), so whoever is between here and the database can read and change everything", withFlag("Node.Store"))
	w.when(!c.Push.Enabled && len(c.Push.Provider) > 0, "there are [[Push.Provider]] tables and push is off, so nobody is woken; add --push (Enabled in [Push])")
	for _, part := range []struct {
		on           bool
		table        string
		given, unset any
		lacking      string
	}{
		{c.Mailserver.Enabled || c.Push.Enabled, "Mailserver", c.Mailserver, d.Mailserver, "--mailserver or --push (Enabled in [Mailserver] or [Push])"},
		{c.Push.Enabled, "Push", c.Push, d.Push, "--push (Enabled in [Push])"},
		{c.RPC.HTTP.Enabled, "RPC.HTTP", c.RPC.HTTP, d.RPC.HTTP, "--http (Enabled in [RPC.HTTP])"},
		{c.RPC.WS.Enabled, "RPC.WS", c.RPC.WS, d.RPC.WS, "--ws (Enabled in [RPC.WS])"},
		{c.Door.Enabled, "Door", c.Door, d.Door, "--door (Enabled in [Door])"},
		{c.Metrics.Enabled, "Metrics", c.Metrics, d.Metrics, "--metrics (Enabled in [Metrics])"},
		{c.Status.Enabled, "Status", c.Status, d.Status, "--status (Enabled in [Status])"},
	} {
		if part.on {
			continue
		}
		switch given := changed(part.table, reflect.ValueOf(part.given), reflect.ValueOf(part.unset)); len(given) {
		case 0:
		case 1:
			w.when(true, "%s means nothing without %s; add that, or leave it out", given[0], part.lacking)
		default:
			w.when(true, "%s mean nothing without %s; add that, or leave them out", strings.Join(given, ", "), part.lacking)
		}
	}
	w.when(c.RPC.IPCDisable && c.RPC.IPCPath != d.RPC.IPCPath, "%s means nothing with --ipcdisable (IPCDisable in [RPC]); leave one of them out", withFlag("RPC.IPCPath"))
}

// insecure tells whether a database on another computer is asked without TLS that proves whose it is.
func insecure(store string) bool {
	u, err := url.Parse(store)
	if err != nil || u.Hostname() == "" || strings.HasPrefix(u.Query().Get("host"), "/") || loopback(u.Hostname()) {
		return false
	}
	return u.Query().Get("sslmode") != "verify-full"
}

// changed lists the settings in which the struct given differs from unset, but for switches and providers.
func changed(table string, given, unset reflect.Value) []string {
	var names []string
	for field := range fieldsOf(given.Type()) {
		a, b := given.FieldByIndex(field.Index), unset.FieldByIndex(field.Index)
		name := table + "." + field.Name
		switch {
		case field.Name == "Enabled" || name == providerKey:
		case field.Type.Kind() == reflect.Struct:
			names = append(names, changed(name, a, b)...)
		case field.Type.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0:
		case !reflect.DeepEqual(a.Interface(), b.Interface()):
			names = append(names, withFlag(name))
		}
	}
	return names
}

// withFlag is a setting's name and, if it has one, its flag.
func withFlag(setting string) string {
	all, _ := Flags() // whose errors a test finds
	for _, f := range all {
		if f.Key == setting {
			return setting + " (--" + f.Name + ")"
		}
	}
	return setting
}
