package node

import (
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
)

// secrets is the last line of defence of "no token, endpoint, topic, key or address in a log". Our packages do not log
// them; what go-ethereum's p2p or an error of the standard library brings along is cut out here.
//
// secrets finds, in this order: URLs, hex from 4 bytes with 0x and from 8 bytes without, anything as long and dense as a
// token, and what may be an IP address.
var secrets = regexp.MustCompile(
	`(?P<url>\b[a-z][a-z0-9+.-]*://[^\s"'\\]+|\benr:[^\s"'\\]+)` +
		`|(?P<hex>\b0x[0-9a-fA-F]{8,}|\b[0-9a-fA-F]{16,}\b)` +
		`|(?P<token>[A-Za-z0-9_:+=-]{32,})` +
		`|(?P<ip>\[[0-9a-fA-F]*:[0-9a-fA-F:.]+(?:%\w+)?\](?::\d+)?|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F.]{0,15})`)

// Redact cuts out of s everything that may be a secret or reveal who talks to the node. Addresses of this computer stay.
func Redact(s string) string {
	return secrets.ReplaceAllStringFunc(s, func(found string) string {
		parts := secrets.FindStringSubmatch(found)
		for i, name := range secrets.SubexpNames() {
			if name == "" || parts == nil || parts[i] == "" {
				continue
			}
			if name == "ip" && !isForeignAddress(found) {
				return found
			}
			return "[" + name + "]"
		}
		return found
	})
}

// isForeignAddress reports whether s, with or without a port, is an IP address other than this computer's own.
func isForeignAddress(s string) bool {
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		port, err := netip.ParseAddrPort(s)
		if err != nil {
			return false
		}
		ip = port.Addr()
	}
	return !ip.IsLoopback() && !ip.IsUnspecified()
}

// redactAttr redacts the text that an attribute will be printed as.
func redactAttr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Redact(v.String()))
	case slog.KindAny:
		if bytes, ok := v.Any().([]byte); ok {
			a.Value = slog.StringValue(fmt.Sprintf("[%d bytes]", len(bytes)))
			break
		}
		a.Value = slog.StringValue(Redact(fmt.Sprint(v.Any())))
	}
	return a
}
