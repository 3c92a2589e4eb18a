package wnode

import (
	"bytes"
	"encoding/hex"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/loopback"
	"whisperpush/wnode/node"
)

// wnodeOK runs a command in this process and returns what it printed.
func wnodeOK(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), append([]string{"wnode"}, args...), stdin, &stdout, &stderr)
	require.Equal(t, 0, code, "wnode %s: %s%s", strings.Join(args, " "), &stdout, &stderr)
	if args[0] != "send" { // which says what cannot be known
		require.Empty(t, stderr.String())
	}
	return stdout.String()
}

// A device on the command line, for each way pushes reach it: it registers, is woken, shows, and ends.
func TestDevice(t *testing.T) {
	noLeaks(t)
	fcm, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(fcm.Close)
	credentials := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(credentials, fcm.CredentialsJSON(), 0o600))

	cfg := loopback.Config(t)
	cfg.Push.Enabled = true
	cfg.Push.Provider = []config.Provider{
		{Name: "fcm", Type: "fcm", Options: map[string]any{"Endpoint": fcm.Endpoint(), "CredentialsFile": credentials}},
		{Name: "webhook", Type: "webhook", Options: map[string]any{"AllowHTTP": true, "AllowPrivate": true}},
		{Name: "direct", Type: "direct"},
	}
	s := run(t, cfg)
	server, pushKey := s.Self().URLv4(), hexutil.Encode(crypto.FromECDSAPub(s.PushKey()))

	for name, way := range map[string][]string{"emulator": {"--emulator", fcm.URL()}, "webhook": {"--webhook", "127.0.0.1:0"}, "direct": {"--direct"}} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "device")
			device := func(args ...string) string {
				return wnodeOK(t, nil, append([]string{"device", args[0], "--dir", dir}, args[1:]...)...)
			}
			chat := name + " family"
			out := device(append([]string{"register", "--server", server, "--pushkey", pushKey, "--chat", chat + "=a, secret"}, way...)...)
			if name == "direct" {
				require.Equal(t, "registered\n", out, "the link itself is the proof")
			} else {
				require.Equal(t, "registered; waiting for the challenge\nconfirmed: the device is woken from now on\n", out)
			}
			require.Contains(t, device("show"), "state:    active\n")

			sent := wnodeOK(t, nil, "send", "--server", server, "--topic", chat, "--password", "a, secret", "--payload", "Dinner at 7")
			hash := strings.TrimSpace(strings.TrimPrefix(sent, "sent "))
			out = device("listen", "--count", "1", "--timeout", "30s")
			require.Regexp(t, regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  `+chat+`: Dinner at 7  whisper:0x[0-9a-f]{8}/`+hash+"\n$"), out)

			out = device("test-push")
			require.Contains(t, out, "asked for test pushes on 1 routes\n1 of 1 test pushes arrived\n")
			require.Contains(t, out, "the push service accepted the test push of less than a minute ago")
			require.Contains(t, device("status"), "its push service last accepted a wake-up")
			require.Empty(t, device("fetch", hash), "it was shown before")
			missing := "0x" + strings.Repeat("77", 32)
			require.Equal(t, "missing "+missing+"\n", device("fetch", missing))
			require.Empty(t, device("seen", hash))
			require.Equal(t, "unregistered\n", device("unregister"))
			require.Contains(t, device("show"), "state:    terminated\n")
		})
	}
}

// A device whose connection is gone is pushed to, by its second route.
func TestDeviceWithTwoRoutes(t *testing.T) {
	noLeaks(t)
	fcm, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(fcm.Close)
	credentials := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(credentials, fcm.CredentialsJSON(), 0o600))
	cfg := loopback.Config(t)
	cfg.Push.Enabled = true
	cfg.Push.Provider = []config.Provider{
		{Name: "fcm-eu", Type: "fcm", Options: map[string]any{"Endpoint": fcm.Endpoint(), "CredentialsFile": credentials}},
		{Name: "direct", Type: "direct"},
	}
	var log loopback.Log
	require.NoError(t, cfg.Validate())
	s, err := node.Start(cfg, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	server, pushKey := s.Self().URLv4(), hexutil.Encode(crypto.FromECDSAPub(s.PushKey()))
	dir := filepath.Join(t.TempDir(), "device")
	token := fcm.NewToken()
	pushes := fcm.Pushes(token)
	out := wnodeOK(t, nil, "device", "register", "--dir", dir, "--server", server, "--pushkey", pushKey, "--chat", "family=a secret",
		"--token", token, "--provider", "fcm-eu", "--direct")
	require.Contains(t, out, "the push that comes now is the challenge")
	receive := func() string {
		select {
		case push := <-pushes:
			return wnodeOK(t, bytes.NewReader(push.Body), "device", "receive", "--dir", dir)
		case <-time.After(time.Minute):
			require.Fail(t, "no push came", "the node's log:\n%s", log.Bytes())
			return ""
		}
	}
	require.Equal(t, "confirmed: the device is woken from now on\n", receive())
	wnodeOK(t, nil, "send", "--server", server, "--topic", "family", "--password", "a secret", "--payload", "Dinner at 7")
	require.Contains(t, receive(), "family: Dinner at 7")
	wnodeOK(t, nil, "send", "--server", server, "--topic", "family", "--password", "a secret", "--payload", "And a cake")
	require.Contains(t, wnodeOK(t, nil, "device", "listen", "--dir", dir, "--count", "1", "--timeout", "60s"), "family: And a cake", "over the connection")
}

func TestDeviceRefuses(t *testing.T) {
	const server = "enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@127.0.0.1:3"
	key := hex.EncodeToString(crypto.FromECDSAPub(&newKey(t).PublicKey))
	known := []string{"register", "--server", server, "--pushkey", key, "--chat", "a=b"}
	for want, args := range map[string][]string{
		"wnode device needs one of its commands: register, listen, receive, fetch, history, seen, inbox, show, status, servers, move, credential, revoke, evidence, test-push, unregister": {},
		`there is no command "dance"; the commands are register, listen`: {"dance"},
		"--server is missing":        {"register"},
		"--pushkey is missing":       {"register", "--server", server},
		"--pushkey is no public key": {"register", "--server", server, "--pushkey", "04"},
		"give one of --emulator, --webhook and --token, or --direct":     known,
		"give at least one --chat or --inbox":                            {"register", "--server", server, "--pushkey", key, "--token", "t"},
		"a --chat is a name, = and a password":                           {"register", "--server", server, "--pushkey", key, "--token", "t", "--chat", "a"},
		`--chat is "0x12"`:                                               {"register", "--server", server, "--pushkey", key, "--token", "t", "--chat", "0x12=b"},
		`--inbox names the file "nowhere", and there is none`:            {"register", "--server", server, "--pushkey", key, "--token", "t", "--inbox", "a=nowhere"},
		"--group is no secret":                                           append(known[:len(known):len(known)], "--token", "t", "--group", "xyz"),
		"there is no emulated push service at --emulator":                append(known[:len(known):len(known)], "--emulator", "http://127.0.0.1:1"),
		"the mail server at --server did not answer":                     append(known[:len(known):len(known)], "--token", "t", "--timeout", "200ms"),
		"web-hooks cannot listen on an interface":                        append(known[:len(known):len(known)], "--webhook", "192.0.2.1:0"),
		"there is no device in ":                                         {"listen"},
		`"0x00" is no envelope hash; give 0x and 64 hex digits`:          {"fetch", "0x00"},
		"wnode device fetch needs the hash of at least one envelope":     {"fetch"},
		`there is no flag --shout; give one of --dir, --timeout, --help`: {"show", "--shout"},
	} {
		t.Run(want, func(t *testing.T) {
			if len(args) > 0 && args[0] != "dance" {
				args = append([]string{args[0], "--dir", filepath.Join(t.TempDir(), "device")}, args[1:]...)
			}
			var stdout, stderr bytes.Buffer
			require.Equal(t, 1, Main(t.Context(), append([]string{"wnode", "device"}, args...), strings.NewReader(""), &stdout, &stderr))
			require.Contains(t, stderr.String(), want)
			require.Equal(t, 1, strings.Count(stderr.String(), "\n"))
		})
	}
}

// What is said of a route whose address is in doubt tells since when, why and what to do.
func TestRouteInDoubt(t *testing.T) {
	require.Empty(t, doubtHelp(pushwire.RouteStatus{Provider: "fcm", State: pushwire.Active}))
	require.Equal(t, " fcm 404 UNREGISTERED", doubtHelp(pushwire.RouteStatus{State: pushwire.Dead, Reason: "fcm 404 UNREGISTERED"}))
	said := doubtHelp(pushwire.RouteStatus{State: pushwire.Active, Reason: "fcm 404 UNREGISTERED", Doubt: 1_800_000_000})
	require.Contains(t, said, "in doubt since "+time.Unix(1_800_000_000, 0).Format(time.DateTime))
	require.Contains(t, said, "fcm 404 UNREGISTERED")
	require.Contains(t, said, "register again")
}
