package wnode

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/wnode/node"
)

// clinic is a node's settings with every emulated push service.
type clinic struct {
	t        *testing.T
	dir      string
	file     string
	services map[string]*emulate.Instance
	paths    map[string]map[string]string // of credentials, by service and key
}

func newClinic(t *testing.T, kinds ...string) *clinic {
	t.Helper()
	c := &clinic{t: t, dir: t.TempDir(), services: make(map[string]*emulate.Instance), paths: make(map[string]map[string]string)}
	text := ""
	for _, kind := range kinds {
		service, err := emulate.Start(kind, "")
		require.NoError(t, err)
		t.Cleanup(service.Close)
		c.services[kind] = service
		paths, err := emulate.WriteFiles(c.dir, service.Files)
		require.NoError(t, err)
		c.paths[kind] = paths
		text += service.Table(paths) + "\n"
	}
	c.file = filepath.Join(c.dir, "node.toml")
	require.NoError(t, os.WriteFile(c.file, []byte(text), 0o600))
	require.NoError(t, os.Mkdir(c.data(), 0o700))
	return c
}

func (c *clinic) data() string { return filepath.Join(c.dir, "data") }

// examine runs wnode doctor.
func (c *clinic) examine(args ...string) (code int, said, complained string) {
	var out, err bytes.Buffer
	code = Main(c.t.Context(), append([]string{"wnode", "doctor", "--config", c.file, "--datadir", c.data(), "--push",
		"--addr", "127.0.0.1", "--port", "0", "--nodiscover"}, args...), nil, &out, &err)
	return code, out.String(), err.String()
}

// well and sick demand a line that begins so, and the exit code that belongs to it.
func (c *clinic) well(want string, args ...string) string {
	c.t.Helper()
	code, said, complained := c.examine(args...)
	require.Zero(c.t, code, said+complained)
	require.Contains(c.t, said, "ok   "+want)
	return said
}

func (c *clinic) sick(want string, args ...string) {
	c.t.Helper()
	code, said, complained := c.examine(args...)
	require.Equal(c.t, 1, code, said)
	require.Contains(c.t, said, "BAD  "+want)
	require.Contains(c.t, complained, " checks failed\n")
}

// canary is a device for --canary.
func (c *clinic) canary(kind string) (flag string, device emulate.Device) {
	device, err := c.services[kind].NewDevice()
	require.NoError(c.t, err)
	flag = "--canary=" + kind + "=" + device.Address
	for _, key := range device.Keys {
		flag += "," + base64.RawURLEncoding.EncodeToString(key)
	}
	return flag, device
}

func TestDoctorFindsAllWell(t *testing.T) {
	t.Parallel()
	c := newClinic(t, emulate.Types()...)
	said := c.well("data directory")
	for _, kind := range emulate.Types() {
		require.Contains(t, said, "ok   provider "+kind, said)
	}
	require.Contains(t, said, "ok   clock: agrees")
	entries, err := os.ReadDir(c.data())
	require.NoError(t, err)
	require.Empty(t, entries, "it changes nothing")

	for _, kind := range emulate.Types() {
		flag, device := c.canary(kind)
		said := c.well("provider "+kind+": accepted a canary", flag)
		require.NotContains(t, said, device.Address, "addresses are secrets")
		require.Len(t, c.services[kind].Pushes(device.Token), 1)
	}
}

// Each failure of a push service, and the words for it.
func TestDoctorOfProviders(t *testing.T) {
	t.Parallel()
	c := newClinic(t, "fcm", "webhook")
	fcm := c.services["fcm"]
	flag, device := c.canary("fcm")
	for _, test := range []struct {
		answer emulate.Answer
		want   string
	}{
		{emulate.Answer{Code: "UNREGISTERED"}, "the canary's device is gone (fcm 404 UNREGISTERED); open the app"},
		{emulate.Answer{Code: "QUOTA_EXCEEDED", RetryAfter: "60"}, "it asks to come back at "},
		{emulate.Answer{Code: "UNAVAILABLE"}, "there is no usable answer (fcm 503"},
		{emulate.Answer{Reset: true}, "there is no usable answer (fcm network); check Endpoint"},
		{emulate.Answer{Code: "THIRD_PARTY_AUTH_ERROR"}, "it refuses this server (fcm 401"},
	} {
		fcm.Script(device.Token, test.answer)
		c.sick("provider fcm: "+test.want, flag)
	}
	fcm.Close()
	c.sick("provider fcm: there is no usable answer")
	c.sick("provider webhook: the canary's address cannot be right: ", "--canary=webhook=ftp://example.org")

	require.NoError(t, os.Remove(filepath.Join(c.dir, "fcm-service-account.json")))
	c.sick("provider fcm: push provider fcm: ")
}

// An address that is a URL may have commas; the keys are as many as its type has, behind the last.
func TestParseCanary(t *testing.T) {
	const url = "https://push.example/?a=b,AQID,c"
	key := []byte{1, 2, 3}
	for _, test := range []struct {
		text string
		keys int
		want pushext.Address
	}{
		{"token:with,comma", 0, pushext.Address{Token: "token:with,comma"}},
		{url, 0, pushext.Address{Token: url}},
		{"https://push.example", 2, pushext.Address{Token: "https://push.example"}},
		{"https://push.example,AQID,AQID=", 2, pushext.Address{Token: "https://push.example", Keys: [][]byte{key, key}}},
		{url + ",AQID,AQID", 2, pushext.Address{Token: url, Keys: [][]byte{key, key}}},
		{url + ",AQID", 1, pushext.Address{Token: url, Keys: [][]byte{key}}},
	} {
		got, err := parseCanary(test.text, test.keys)
		require.NoError(t, err)
		require.Equal(t, test.want, got)
	}
	_, err := parseCanary("https://push.example,AQID,not base64", 2)
	require.EqualError(t, err, `has a key, number 2, that is not base64url; its form is ADDRESS,KEY,KEY`)
}

// A canary goes to an address with commas, and an odd setting is noted without being bad.
func TestDoctorOfCommas(t *testing.T) {
	t.Parallel()
	c := newClinic(t, "webhook")
	device, err := c.services["webhook"].NewDevice()
	require.NoError(t, err)
	flag := "--canary=webhook=" + device.Address + "?a=1,2," + base64.RawURLEncoding.EncodeToString(device.Keys[0])
	said := c.well("provider webhook: accepted a canary", flag, "--http.api", "shh")
	require.Contains(t, said, "note settings: RPC.HTTP.API (--http.api) means nothing without --http")
	require.Len(t, c.services["webhook"].Pushes(device.Token), 1)
	code, _, complained := c.examine("--canary=webhook=https://push.example/a,b!")
	require.Equal(t, 1, code)
	require.Equal(t, "wnode: --canary for \"webhook\" has a key, number 1, that is not base64url; its form is ADDRESS,KEY\n", complained)
}

func TestDoctorOfKeys(t *testing.T) {
	c := newClinic(t, "webhook")
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(c.data(), name)
		os.Remove(path)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
	}
	one, two := strings.Repeat("1", 64), strings.Repeat("2", 64)
	write("nodekey", one, 0o600)
	write("pushkey", two, 0o600)
	write("push.disk.key", one, 0o600)
	c.well("push key")
	write("pushkey", one, 0o600)
	c.sick("push key: " + filepath.Join(c.data(), "pushkey") + " is the node key too")
	write("pushkey", two, 0o644)
	c.sick("push key: others on this computer can read ")
	write("pushkey", "no key", 0o600)
	c.sick("push key: ")
	write("pushkey", strings.Repeat("0", 64), 0o600)
	c.sick("push key: ")
	write("pushkey", "\ufeff0x"+two+"\r\n", 0o600)
	c.well("push key: " + filepath.Join(c.data(), "pushkey"))
	write("pushkey", "0X"+one, 0o600)
	c.sick("push key: " + filepath.Join(c.data(), "pushkey") + " is the node key too")
	require.NoError(t, os.Remove(filepath.Join(c.data(), "pushkey")))
	c.well("push key: made at the first start")
	c.sick("node key: Node.KeyFile (--nodekey) names the file \"nowhere\", and there is none", "--nodekey", "nowhere")
	c.sick("mailserver's password: Mailserver.PasswordFile (--mailserver.password) names the file \"nowhere\", and there is none", "--mailserver.password", "nowhere")
	require.NoError(t, os.MkdirAll(filepath.Join(c.data(), "push", "x"), 0o700))
	c.sick("push key: the push key " + filepath.Join(c.data(), "pushkey") + " is missing, and without it no registered device would find its mailserver again; put it back")
	require.NoError(t, os.Remove(filepath.Join(c.data(), "nodekey")))
	c.sick("node key: the node key " + filepath.Join(c.data(), "nodekey") + " is missing, and without it no registered device would find this node again")
}

func TestDoctorOfANodeThatRuns(t *testing.T) {
	c := newClinic(t, "webhook")
	unlock, err := node.LockDir(c.data())
	require.NoError(t, err)
	defer unlock()
	require.Contains(t, c.well("data directory"), "is in use by a running node")
}

func TestDoctorOfAFileForADirectory(t *testing.T) {
	c := newClinic(t, "webhook")
	require.NoError(t, os.Remove(c.data()))
	require.NoError(t, os.WriteFile(c.data(), nil, 0o600))
	c.sick("data directory: ")
}

// A provider whose addresses are URLs is tried on a stand-in, a gorush on a made-up token, and a direct one has
// nothing to try.
func TestDoctorWithoutCanary(t *testing.T) {
	t.Parallel()
	c := newClinic(t, "webpush", "webhook", "gorush")
	text, err := os.ReadFile(c.file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(c.file, append(text, "[[Push.Provider]]\nType = \"direct\"\n"...), 0o600))
	c.well("provider webpush: a push arrived at a stand-in inside this program")
	c.well("provider webhook: a push arrived at a stand-in inside this program")
	c.well("provider gorush: believes this server (gorush not found to a made-up address")
	c.well("provider direct: needs no push service")
	code, _, complained := c.examine("--canary=direct=x")
	require.Equal(t, 1, code)
	require.Contains(t, complained, "only the running node can ring")

	c.services["gorush"].Script("", emulate.Answer{Status: 500, Times: -1})
	c.sick("provider gorush: there is no usable answer (gorush 500")
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "webpush-vapid.pem"), []byte("no key"), 0o600))
	c.sick("provider webpush: push provider webpush: ")
}

// What cannot be believed is not called well: a gorush that answers before it sends.
func TestDoctorOfGorush(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]emulate.GorushConfig{
		"gorush's core.sync is false: it answers before it sends, so nothing it says can be believed; set core.sync: true":                                            {Platform: 2, Async: true},
		"gorush's queue.engine is \"nats\", with which it ignores core.sync: it answers before it sends, so nothing it says can be believed; set queue.engine: local": {Platform: 2, Queue: "nats"},
		"gorush's android.enabled is false: it drops what is for that platform without a word; set it true, or remove this provider":                                  {Platform: 1},
	} {
		g, err := emulate.StartGorush(cfg)
		require.NoError(t, err)
		t.Cleanup(g.Close)
		c := newClinic(t)
		require.NoError(t, os.WriteFile(c.file, []byte("[[Push.Provider]]\nType = \"gorush\"\nPlatform = \"android\"\nEndpoint = \""+g.URL()+"\"\n"), 0o600))
		c.sick("provider gorush: "+want, "--canary=gorush="+g.NewToken())
		require.Zero(t, g.Accepted())
	}
}

func TestDoctorOfAFullDisk(t *testing.T) {
	for free, want := range map[uint64]string{
		doctorFree - 1: "BAD  disk: only 1023 MiB are free at ",
		doctorFree:     "ok   disk: 1024 MiB free\n",
	} {
		var out bytes.Buffer
		d := &doctor{out: &out, free: func(string) (uint64, error) { return free, nil }}
		d.cfg.Node.DataDir = t.TempDir()
		d.disk()
		require.Contains(t, out.String(), want)
	}
}

// The clock is compared with that of a push service.
func TestDoctorOfAWrongClock(t *testing.T) {
	const bad = `^BAD  clock: this computer's clock is %s(1h0m|59m)\d+s off that of provider p; turn on time synchronisation`
	for off, want := range map[time.Duration]string{
		-time.Hour: fmt.Sprintf(bad, ""),
		time.Hour:  fmt.Sprintf(bad, "-"),
		0:          `^ok   clock: agrees with provider p\n`,
	} {
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(off+500*time.Millisecond).UTC().Format(http.TimeFormat))
		}))
		var out bytes.Buffer
		d := &doctor{out: &out}
		d.cfg.Push.Provider = []config.Provider{{Name: "p", Type: "pushy", Options: map[string]any{"Endpoint": service.URL}}}
		d.clock(t.Context())
		service.Close()
		require.Regexp(t, want, out.String())
	}
}

// Every file with a secret that others can read is spoken of: the node's own keys, the password, and what each type of
// provider has. One that nobody else can read is not.
func TestDoctorOfExposedSecrets(t *testing.T) {
	t.Parallel()
	c := newClinic(t, emulate.Types()...)
	own := map[string]string{"nodekey": "node key", "pushkey": "push key", "push.disk.key": "disk key"}
	for i, name := range []string{"nodekey", "pushkey", "push.disk.key"} {
		require.NoError(t, os.WriteFile(filepath.Join(c.data(), name), []byte(strings.Repeat(string(rune('1'+i)), 64)), 0o600))
	}
	password := filepath.Join(c.dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("our secret\n"), 0o600))
	args := []string{"--mailserver.password", password}
	said := c.well("node key", args...)
	require.NotContains(t, said, "chmod")

	want := map[string]string{password: "mailserver's password"}
	for name, what := range own {
		want[filepath.Join(c.data(), name)] = what
	}
	for file, what := range map[string]string{
		"fcm": "CredentialsFile of provider fcm", "apns": "KeyFile of provider apns", "hms": "AppSecretFile of provider hms",
		"pushy": "APIKeyFile of provider pushy", "webpush": "KeyFile of provider webpush",
	} {
		paths := c.paths[file]
		require.NotEmpty(t, paths, file)
		key, _, _ := strings.Cut(what, " ")
		want[paths[key]] = what
	}
	for path, what := range want {
		require.NoError(t, os.Chmod(path, 0o644), what)
	}
	code, said, _ := c.examine(args...)
	require.Equal(t, 1, code)
	for path, what := range want {
		require.Contains(t, said, "BAD  "+what+": others on this computer can read "+path+"; do chmod 600 "+path+"\n")
		require.NotContains(t, said, "ok   "+what+":")
	}
	require.NotContains(t, said, "CAFile", "certificates are public")
}
