package dialguard

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// unreserved are the characters that mean the same whether they are encoded or
// not, RFC 3986 section 2.3.
const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// unwritten are characters that a URL cannot hold unless they are encoded; many
// programs encode them on the way.
const unwritten = "\"<>\\^`{|}"

const upperHex = "0123456789ABCDEF"

// canonical is the one spelling of a URL that stands for all that lead to the same place:
// scheme and host in lower case, no default port and no dot behind the host (RFC 3986
// section 6.2.3, RFC 6454 section 4), only those characters encoded that have to be
// (6.2.2.2), no dot segments (6.2.2.3), a path, and no "?" without a query. Addresses are
// written as package netip writes them.
//
// What else a server takes for the same is not known here: another query, another case of
// the path, a doubled slash.
func canonical(u *url.URL) (string, error) {
	host, err := canonicalHost(u.Hostname())
	if err != nil {
		return "", err
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil && port != defaultPorts[u.Scheme] {
		host += ":" + strconv.FormatUint(port, 10)
	}
	path := u.RawPath // as it was written, unless Path says it all
	if path == "" {
		path = u.EscapedPath()
	}
	if path, err = canonicalText(path); err != nil {
		return "", err
	}
	query, err := canonicalText(u.RawQuery)
	if err != nil {
		return "", err
	}
	if query != "" {
		query = "?" + query
	}
	return u.Scheme + "://" + host + withoutDots(path) + query, nil
}

var defaultPorts = map[string]uint64{"http": 80, "https": 443}

func canonicalHost(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return "", errors.New("the endpoint's host must not have a zone")
		}
		if ip = ip.Unmap(); ip.Is6() {
			return "[" + ip.String() + "]", nil
		}
		return ip.String(), nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || strings.HasSuffix(host, ".") || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return "", errNoDomain
	}
	return host, nil
}

// canonicalText leaves encoded in a path or query what has to be, and nothing else.
func canonicalText(text string) (string, error) {
	if !strings.ContainsAny(text, "%"+unwritten) {
		return text, nil
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if i+2 >= len(text) {
				return "", errPercent
			}
			n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return "", errPercent
			}
			i += 2
			if c = byte(n); strings.IndexByte(unreserved, c) < 0 {
				out.WriteString("%" + upperHex[c>>4:c>>4+1] + upperHex[c&15:c&15+1])
				continue
			}
		} else if strings.IndexByte(unwritten, c) >= 0 {
			out.WriteString("%" + upperHex[c>>4:c>>4+1] + upperHex[c&15:c&15+1])
			continue
		}
		out.WriteByte(c)
	}
	return out.String(), nil
}

var errPercent = errors.New(`the endpoint has a "%" that begins no encoded character: write "%25"`)

// withoutDots removes the segments "." and ".." of a path, RFC 3986 section 5.2.4.
// An empty path becomes "/".
func withoutDots(path string) string {
	if path == "" {
		return "/"
	}
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(path[1:], "/")
	kept := segments[:0]
	for i, segment := range segments {
		switch segment {
		case ".", "..":
			if segment == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if i == len(segments)-1 {
				kept = append(kept, "") // "/a/." is "/a/"
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}
