package dialguard

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	forbidden := map[string]string{
		"loopback":            "127.0.0.1",
		"loopback, other":     "127.255.255.254",
		"loopback v6":         "::1",
		"unspecified":         "0.0.0.0",
		"unspecified v6":      "::",
		"this network":        "0.1.2.3",
		"private 10":          "10.0.0.1",
		"private 172":         "172.31.255.255",
		"private 192":         "192.168.1.1",
		"cgnat":               "100.64.0.1",
		"cgnat, Alibaba":      "100.100.100.200",
		"metadata":            "169.254.169.254",
		"metadata v6":         "fd00:ec2::254",
		"Azure host":          "168.63.129.16",
		"Oracle metadata":     "192.0.0.192",
		"documentation 1":     "192.0.2.1",
		"documentation 2":     "198.51.100.1",
		"documentation 3":     "203.0.113.1",
		"benchmark":           "198.18.0.1",
		"6to4 relay":          "192.88.99.1",
		"multicast":           "224.0.0.1",
		"multicast 239":       "239.255.255.250",
		"reserved":            "240.0.0.1",
		"broadcast":           "255.255.255.255",
		"mapped loopback":     "::ffff:127.0.0.1",
		"mapped metadata":     "::ffff:169.254.169.254",
		"mapped private":      "::ffff:10.0.0.1",
		"compatible":          "::127.0.0.1",
		"translated":          "::ffff:0:127.0.0.1",
		"nat64 metadata":      "64:ff9b::a9fe:a9fe",
		"nat64 of public":     "64:ff9b::808:808",
		"nat64 local":         "64:ff9b:1::7f00:1",
		"6to4 loopback":       "2002:7f00:1::1",
		"6to4 private":        "2002:a00:1::",
		"teredo":              "2001:0:7f00:1::",
		"unique local":        "fc00::1",
		"site-local":          "fec0::1",
		"link-local":          "fe80::1",
		"link-local, zone":    "fe80::1%eth0",
		"public with zone":    "2600::1%eth0",
		"multicast v6":        "ff02::1",
		"documentation v6":    "2001:db8::1",
		"documentation v6, 2": "3fff::1",
		"discard":             "100::1",
		"segment routing":     "5f00::1",
		"orchid":              "2001:20::1",
	}
	for name, text := range forbidden {
		require.ErrorIs(t, Check(netip.MustParseAddr(text)), ErrForbidden, name)
		require.ErrorIs(t, Control("tcp6", netip.AddrPortFrom(netip.MustParseAddr(text), 443).String(), nil), ErrForbidden, name)
	}
	for _, text := range []string{"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8", "2606:4700::1", "2a00:1450:4001::1"} {
		require.NoError(t, Check(netip.MustParseAddr(text)), text)
		require.NoError(t, Control("tcp4", netip.AddrPortFrom(netip.MustParseAddr(text), 443).String(), nil), text)
	}
	require.ErrorIs(t, Check(netip.Addr{}), ErrForbidden)
	require.ErrorIs(t, Control("udp4", "8.8.8.8:53", nil), ErrForbidden)
	require.ErrorIs(t, Control("unix", "/run/docker.sock", nil), ErrForbidden)
	require.ErrorIs(t, Control("tcp4", "example.org:443", nil), ErrForbidden)
}

func TestCheckURL(t *testing.T) {
	bad := map[string]string{
		"empty":               "",
		"no scheme":           "example.org/x",
		"file":                "file:///etc/passwd",
		"gopher":              "gopher://example.org/x",
		"plain http":          "http://example.org/x",
		"opaque":              "https:example.org",
		"no host":             "https:///x",
		"user":                "https://user@example.org/",
		"user and decoy":      "https://example.org@127.0.0.1/",
		"password":            "https://a:b@example.org/",
		"fragment":            "https://example.org/#@127.0.0.1",
		"empty fragment":      "https://example.org/#",
		"loopback":            "https://127.0.0.1/",
		"loopback v6":         "https://[::1]/",
		"mapped":              "https://[::ffff:127.0.0.1]/",
		"mapped, hex":         "https://[::ffff:7f00:1]/",
		"nat64":               "https://[64:ff9b::a9fe:a9fe]/",
		"6to4":                "https://[2002:7f00:1::]/",
		"zone":                "https://[fe80::1%25eth0]/",
		"metadata":            "https://169.254.169.254/latest/meta-data",
		"cgnat":               "https://100.64.0.1/",
		"short address":       "https://127.1/",
		"number":              "https://2130706433/",
		"hex":                 "https://0x7f000001/",
		"hex parts":           "https://0x7f.0.0.0x1/",
		"octal":               "https://0177.0.0.1/",
		"octal last":          "https://127.0.0.01/",
		"address, dot":        "https://127.0.0.1./",
		"localhost":           "https://localhost/",
		"LOCALHOST":           "https://LOCALHOST/",
		"localhost, dot":      "https://localhost./",
		"sub localhost":       "https://a.localhost/",
		"internal":            "https://metadata.google.internal/",
		"mdns":                "https://printer.local/",
		"single label":        "https://intranet/",
		"empty label":         "https://a..example.org/",
		"full-width digits":   "https://１２７.0.0.1/",
		"circled letters":     "https://ⓔxample.org/",
		"percent host":        "https://%31%32%37.0.0.1/",
		"backslash":           `https://example.org\@127.0.0.1/`,
		"newline":             "https://example.org/\r\nX-Evil: 1",
		"tab":                 "https://exam\tple.org/",
		"ssh":                 "https://example.org:22/",
		"smtp":                "https://example.org:25/",
		"http port":           "https://example.org:80/",
		"port 0":              "https://example.org:0/",
		"port 65536":          "https://example.org:65536/",
		"empty port":          "https://example.org:/",
		"long":                "https://example.org/" + strings.Repeat("a", MaxURL),
		"underscored address": "https://127.0.0.1_/",
	}
	for name, endpoint := range bad {
		_, err := CheckURL(endpoint, Policy{})
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "127", name)
		require.NotContains(t, err.Error(), "example", name)
	}
	for _, endpoint := range []string{"https://example.org/hook?x=1", "https://example.org:8443/", "https://8.8.8.8/x", "https://[2606:4700::1]:443/", "https://push.services.mozilla.com/wpush/v2/gAAAA", "https://xn--e1afmkfd.xn--p1ai/"} {
		_, err := CheckURL(endpoint, Policy{})
		require.NoError(t, err, endpoint)
	}
	_, err := CheckURL("http://127.0.0.1:81/x", Policy{HTTP: true, Private: true})
	require.NoError(t, err)
	_, err = CheckURL("http://127.0.0.1:8080/x", Policy{HTTP: true})
	require.Error(t, err)
	_, err = CheckURL("http://example.org/x", Policy{Private: true})
	require.Error(t, err)
}

// TestSpellings is which spellings of a URL are one, and which are others.
func TestSpellings(t *testing.T) {
	for want, spellings := range map[string][]string{
		"https://push.example.org/u/1": {
			"https://push.example.org/u/1", "https://PUSH.example.org/u/1", "https://push.example.org:443/u/1", "https://push.example.org:0443/u/1",
			"https://push.example.org./u/1", "https://push.example.org.:443/u/1", "https://push.example.org/u/%31", "https://push.example.org/%75/1",
			"https://push.example.org/u/1?", "HTTPS://push.example.org/u/1", "https://push.example.org/./u/1", "https://push.example.org/%2e/u/1",
			"https://push.example.org/a/../u/1", "https://push.example.org/a/b/%2E%2e/.%2e/u/1", "https://push.example.org/../u/1",
		},
		// Servers tell these apart.
		"https://push.example.org/u/1?a":     {"https://push.example.org/u/1?%61"},
		"https://push.example.org/u/1?a=%2F": {"https://push.example.org/u/1?a=%2f", "https://push.example.org/u/%31?%61=%2f"},
		"https://push.example.org/U/1":       {"https://push.example.org/%55/1"},
		"https://push.example.org/u//1":      {"https://push.example.org/u//%31"},
		"https://push.example.org/u/1/":      {"https://push.example.org/u/1/.", "https://push.example.org/u/1/x/.."},
		"https://push.example.org/u%2F1":     {"https://push.example.org/u%2f1"},
		"https://push.example.org/u%2F%7B":   {"https://push.example.org/u%2f{", "https://push.example.org/u%2F%7b"},
		"https://push.example.org/?%7C":      {"https://push.example.org?|", "https://push.example.org/?%7c"},
		"https://push.example.org/%2531":     {"https://push.example.org/%25%331"},
		"https://push.example.org/u/1+%20":   {"https://push.example.org/u/1+%20"},
		"https://push.example.org:8443/":     {"https://push.example.org:8443", "https://PUSH.example.org.:08443/"},
		"http://push.example.org/":           {"http://push.example.org:80", "HTTP://push.example.org"},
		"https://8.8.8.8/":                   {"https://8.8.8.8:443", "https://[::ffff:8.8.8.8]/", "https://[::FFFF:808:808]"},
		"https://[2606:4700::1]/":            {"https://[2606:4700:0:0::0001]:443/", "https://[2606:4700::0.0.0.1]"},
	} {
		require.Contains(t, append(spellings, want), want)
		for _, spelling := range append(spellings, want) {
			u, err := CheckURL(spelling, Policy{HTTP: true})
			require.NoError(t, err, spelling)
			require.Equal(t, want, u.String(), spelling)
		}
	}
	for name, endpoint := range map[string]string{
		"cut short":      "https://example.org/?a%2",
		"no number":      "https://example.org/?%zz",
		"sign":           "https://example.org/?%+1",
		"decodes anew":   "https://example.org/?%%3411",
		"grows too long": "https://example.org/" + strings.Repeat("|", MaxURL/2),
		"zone":           "https://[fe80::1%25eth0]/",
		"dot":            "https://./",
		"no ASCII":       "https://%e4.example.org/",
	} {
		_, err := CheckURL(endpoint, Policy{Private: true})
		require.Error(t, err, name)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://example.org/", "https://[::1]:443/", "https://0x7f.1/", "https://a@b/", "https://127.0.0.1.:443/", "HTTPS://A.b.:0443/%2e./%7e{%2F?%61#", "https://[::ffff:8.8.8.8]?|"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		if u, err := CheckURL(endpoint, Policy{HTTP: true, Private: true}); err == nil {
			again, err := CheckURL(u.String(), Policy{HTTP: true, Private: true})
			require.NoError(t, err)
			require.Equal(t, u.String(), again.String())
		}
		u, err := CheckURL(endpoint, Policy{})
		if err != nil {
			return
		}
		again, err := CheckURL(u.String(), Policy{})
		require.NoError(t, err)
		require.Equal(t, u, again)
		require.Equal(t, "https", u.Scheme)
		require.Nil(t, u.User)
		if ip, err := netip.ParseAddr(strings.TrimSuffix(u.Hostname(), ".")); err == nil {
			require.NoError(t, Check(ip))
		}
	})
}
