package node

import (
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/config"
	"whisperpush/mailserver"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
	"whisperpush/wnode/door"
	"whisperpush/wnode/health"
	"whisperpush/wnode/rpc/shh"
)

func run(t *testing.T, cfg config.Config) *Node {
	t.Helper()
	require.NoError(t, cfg.Validate())
	s, err := Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

// noLeaks checks at the end of the test that no goroutine is left but one that goleveldb lets linger for a second.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
	})
}

func TestEverythingStartsAndStops(t *testing.T) {
	noLeaks(t)
	cfg := loopback.Config(t)
	cfg.Push.Enabled = true
	cfg.Push.Provider = []config.Provider{{Name: "webhook", Type: "webhook"}}
	cfg.RPC.HTTP.Enabled, cfg.RPC.WS.Enabled, cfg.Metrics.Enabled = true, true, true
	for range 2 {
		s, err := Start(cfg, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		s.Stop()
	}
}

// A start that fails leaves nothing running and the data directory as it was, wherever it fails.
func TestFailedStartLeavesNothing(t *testing.T) {
	own := func(c *config.Config, name, content string) {
		path := filepath.Join(c.Node.DataDir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	for name, fail := range map[string]func(*config.Config){
		"password": func(c *config.Config) { c.Mailserver.PasswordFile = "/nowhere" },
		"provider": func(c *config.Config) { c.Push.Provider = []config.Provider{{Type: "x"}} },
		"port":     func(c *config.Config) { c.Node.ListenAddr = "192.0.2.1:0" },
		"ipc":      func(c *config.Config) { c.RPC.IPCPath = "/" + strings.Repeat("x", 200) },
		"http":     func(c *config.Config) { c.RPC.HTTP.Enabled, c.RPC.HTTP.Addr = true, "192.0.2.1" },
		"ws":       func(c *config.Config) { c.RPC.HTTP.Enabled, c.RPC.WS.Enabled, c.RPC.WS.Addr = true, true, "192.0.2.1" },
		"metrics":  func(c *config.Config) { c.Metrics.Enabled, c.Metrics.Addr = true, "192.0.2.1" },
		"node key": func(c *config.Config) { own(c, "nodekey", "no key") },
		"push key": func(c *config.Config) { own(c, "pushkey", "no key") },
		"disk key": func(c *config.Config) { own(c, "push.disk.key", "no key") },
		"archive":  func(c *config.Config) { own(c, "archive/LOCK/x", "") },
		"push": func(c *config.Config) {
			own(c, "push/LOCK/x", "")
			for i, name := range []string{"nodekey", "pushkey", "push.disk.key"} {
				own(c, name, strings.Repeat(strconv.Itoa(i+1), 64))
			}
		},
		"link":   func(c *config.Config) { own(c, "nodes/LOCK/x", "") },
		"a file": func(c *config.Config) { own(c, "nodes", "") },
	} {
		for _, made := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/directory there %v", name, made), func(t *testing.T) {
				noLeaks(t)
				cfg := loopback.Config(t)
				cfg.Push.Enabled = true
				parent := cfg.Node.DataDir
				cfg.Node.DataDir = filepath.Join(parent, "some", "where")
				if made {
					require.NoError(t, os.MkdirAll(cfg.Node.DataDir, 0o700))
				}
				fail(&cfg)
				before := tree(t, parent)
				_, err := Start(cfg, slog.New(slog.DiscardHandler))
				require.Error(t, err)
				require.Equal(t, before, tree(t, parent))
			})
		}
	}
}

// tree is what is below dir, with the content of files.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			found[path] = "directory"
			return err
		}
		content, err := os.ReadFile(path)
		found[path] = string(content)
		return err
	}))
	return found
}

// What a node has made before is not touched by a start that fails, whatever it made itself.
func TestFailedStartKeepsWhatWasThere(t *testing.T) {
	cfg := loopback.Config(t)
	cfg.Mailserver.Enabled = true
	s, err := Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	s.Stop()
	before := tree(t, cfg.Node.DataDir)
	require.Contains(t, before, filepath.Join(cfg.Node.DataDir, "nodekey"))

	cfg.Push.Enabled = true
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Node.DataDir, "push.disk.key"), []byte("no key"), 0o600))
	_, err = Start(cfg, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "the disk key in ")
	require.NoError(t, os.Remove(filepath.Join(cfg.Node.DataDir, "push.disk.key")))
	after := tree(t, cfg.Node.DataDir)
	for path, content := range before {
		if filepath.Dir(path) == cfg.Node.DataDir {
			require.Equal(t, content, after[path], path)
		}
	}
	for path := range after {
		require.NotContains(t, path, "push", "made by the start that failed")
	}
	run(t, cfg)
}

// TestDatabasesThatDoNotOpen: archive and push are opened side by side, and neither is left open if the other fails.
func TestDatabasesThatDoNotOpen(t *testing.T) {
	for name, blocked := range map[string][]string{"archive": {"archive"}, "push": {"push"}, "both": {"archive", "push"}} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			cfg := loopback.Config(t)
			cfg.Push.Enabled = true
			cfg.Push.Provider = []config.Provider{{Name: "webhook", Type: "webhook"}}
			run(t, cfg).Stop()
			for _, dir := range blocked { // a directory where the database has its lock
				require.NoError(t, os.Remove(filepath.Join(cfg.Node.DataDir, dir, "LOCK")))
				require.NoError(t, os.Mkdir(filepath.Join(cfg.Node.DataDir, dir, "LOCK"), 0o700))
			}
			_, err := Start(cfg, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, filepath.Join(cfg.Node.DataDir, blocked[0]))
			require.NotContains(t, err.Error(), "\n", "one sentence")
			for _, dir := range blocked {
				require.NoError(t, os.Remove(filepath.Join(cfg.Node.DataDir, dir, "LOCK")))
			}
			run(t, cfg)
		})
	}
}

func TestKeyFilesArePrivate(t *testing.T) {
	cfg := loopback.Config(t)
	cfg.Push.Enabled = true
	run(t, cfg)
	for _, name := range []string{"nodekey", "pushkey", "push.disk.key"} {
		info, err := os.Stat(filepath.Join(cfg.Node.DataDir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
	for _, name := range []string{"nodekey", "push.disk.key"} {
		inside, err := filepath.Glob(filepath.Join(cfg.Node.DataDir, "push", name))
		require.NoError(t, err)
		require.Empty(t, inside)
	}
}

func TestDamagedKeyFile(t *testing.T) {
	for name, text := range map[string]string{"short": "00ff", "no hex": strings.Repeat("x", 64), "zero": strings.Repeat("0", 64), "empty": ""} {
		t.Run(name, func(t *testing.T) {
			cfg := loopback.Config(t)
			path := filepath.Join(cfg.Node.DataDir, "nodekey")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			_, err := Start(cfg, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, "the node key in "+path)
			require.ErrorContains(t, err, "put the right file there")
			kept, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, text, string(kept), "a key file is never overwritten")
		})
	}
}

func TestRPC(t *testing.T) {
	noLeaks(t)
	cfg := loopback.Config(t)
	cfg.RPC.HTTP.Enabled, cfg.RPC.WS.Enabled = true, true
	cfg.RPC.HTTP.CORSDomain = []string{"https://app.example"}
	cfg.RPC.HTTP.API = []string{"shh", "admin"}
	s := run(t, cfg)
	require.Len(t, s.http, 1, "the same address and port are one listener")
	plain := s.http[0].URL()
	for transport, url := range map[string]string{"ipc": s.ipc, "http": plain, "ws": strings.Replace(plain, "http:", "ws:", 1)} {
		t.Run(transport, func(t *testing.T) {
			client, err := rpc.DialContext(t.Context(), url)
			require.NoError(t, err)
			defer client.Close()
			var version string
			require.NoError(t, client.CallContext(t.Context(), &version, "shh_version"))
			require.Equal(t, "6.0", version)

			var id string
			require.NoError(t, client.CallContext(t.Context(), &id, "shh_newSymKey"))
			messages := make(chan *shh.Message, 1)
			sub, err := client.Subscribe(t.Context(), "shh", messages, "messages", map[string]any{"symKeyID": id, "topics": []string{"0x01020304"}})
			if transport == "http" {
				require.ErrorIs(t, err, rpc.ErrNotificationsUnsupported)
				return
			}
			require.NoError(t, err)
			defer sub.Unsubscribe()
			var hash string
			require.NoError(t, client.CallContext(t.Context(), &hash, "shh_post", map[string]any{
				"symKeyID": id, "topic": "0x01020304", "ttl": 10, "payload": "0x68656c6c6f", "powTime": 5, "powTarget": 0.3,
			}))
			select {
			case m := <-messages:
				require.Equal(t, "hello", string(m.Payload))
				require.Equal(t, hash, m.Hash.Hex())
			case <-time.After(10 * time.Second):
				t.Fatal("the message did not come")
			}
		})
	}
	t.Run("namespaces", func(t *testing.T) {
		client, err := rpc.DialContext(t.Context(), plain)
		require.NoError(t, err)
		defer client.Close()
		var info struct{ Enode, Name string }
		require.NoError(t, client.CallContext(t.Context(), &info, "admin_nodeInfo"))
		require.Equal(t, s.link.Self().URLv4(), info.Enode)
		require.True(t, strings.HasPrefix(info.Name, "whisperpush/v"))
		var name string
		require.ErrorContains(t, client.CallContext(t.Context(), &name, "web3_clientVersion"), "does not exist", "it was not asked for over HTTP")
	})
	t.Run("hosts", func(t *testing.T) {
		for host, want := range map[string]int{"localhost": 200, "LOCALHOST:8545": 200, "127.0.0.1": 200, "[::1]:1": 200, "evil.example": 403} {
			require.Equal(t, want, post(t, plain, func(r *http.Request) { r.Host = host }).StatusCode, host)
		}
	})
	t.Run("origins", func(t *testing.T) {
		answer := post(t, plain, func(r *http.Request) { r.Header.Set("Origin", "https://app.example") })
		require.Equal(t, "https://app.example", answer.Header.Get("Access-Control-Allow-Origin"))
		answer = post(t, plain, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
		require.Empty(t, answer.Header.Get("Access-Control-Allow-Origin"))
		preflight := func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = http.MethodOptions, nil, 0
			r.Header.Set("Origin", "https://app.example")
			r.Header.Set("Access-Control-Request-Method", "POST")
		}
		answer = post(t, plain, preflight)
		require.Equal(t, http.StatusNoContent, answer.StatusCode)
		require.Contains(t, answer.Header.Get("Access-Control-Allow-Methods"), "POST")
	})
	t.Run("socket", func(t *testing.T) {
		info, err := os.Stat(s.ipc)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	})
}

func post(t *testing.T, url string, change func(*http.Request)) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"shh_version"}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Close = true
	change(r)
	answer, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	answer.Body.Close()
	return answer
}

func TestMetricsEndpoint(t *testing.T) {
	cfg := loopback.Config(t)
	cfg.Push.Enabled, cfg.Metrics.Enabled = true, true
	s := run(t, cfg)
	get := func(path string) string {
		_, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http[0].Addr.String()+path, nil)
		require.Error(t, err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.http[0].Addr.String()+path, nil)
		require.NoError(t, err)
		r.Close = true
		answer, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		require.Equal(t, 200, answer.StatusCode)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.JSONEq(t, `{"status":"ok","checks":[{"name":"node","ok":true},{"name":"archive","ok":true},{"name":"push","ok":true},{"name":"follower","ok":true}]}`, get("/healthz"))
	var ready health.Report
	require.NoError(t, json.Unmarshal([]byte(get("/readyz")), &ready))
	require.True(t, ready.OK())
	require.Len(t, ready.Checks, 7)
	text := get("/metrics")
	for _, name := range []string{"whisperpush_wnode_info", "whisperpush_wnode_requests_total", "whisperpush_whisper_", "whisperpush_mailserver_", "whisperpush_pushext_", "go_goroutines"} {
		require.Contains(t, text, name)
	}
}

// A node whose disk has gone says so, by real writes.
func TestUnwellIsTold(t *testing.T) {
	cfg := loopback.Config(t)
	cfg.Push.Enabled, cfg.Metrics.Enabled = true, true
	s := run(t, cfg)
	require.NoError(t, os.RemoveAll(filepath.Join(cfg.Node.DataDir, "archive")))
	for _, path := range []string{"/healthz", "/readyz"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.http[0].Addr.String()+path, nil)
		require.NoError(t, err)
		r.Close = true
		answer, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
		var report health.Report
		require.NoError(t, json.NewDecoder(answer.Body).Decode(&report))
		for _, check := range report.Checks {
			require.Equal(t, check.Name != "archive", check.OK, "%s: %s", check.Name, check.Reason)
		}
	}
}

// recorder is a handler of requests that remembers them.
type recorder struct{ payloads [][]byte }

func (r *recorder) HandleEnvelope(_ enode.ID, env *whisper.Envelope) {
	r.payloads = append(r.payloads, env.Raw())
}

func (r *recorder) HandlePlain(_ enode.ID, payload []byte) {
	r.payloads = append(r.payloads, payload)
}

// pushRecorder and mailRecorder take what comes through the door besides.
type pushRecorder struct{ recorder }

func (r *pushRecorder) HandleCall(_ pushserver.Caller, env *whisper.Envelope) {
	r.payloads = append(r.payloads, env.Raw())
}

type mailRecorder struct{ recorder }

func (r *mailRecorder) Handle(_ mailserver.Caller, env *whisper.Envelope) {
	r.payloads = append(r.payloads, env.Raw())
}

func TestRequests(t *testing.T) {
	seal := func(topic whisper.Topic) []byte {
		env, err := whisper.Seal(t.Context(), whisper.Draft{Payload: []byte("x"), Topic: topic, Key: make([]byte, 32)})
		require.NoError(t, err)
		return env.Raw()
	}
	plain, err := rlp.EncodeToBytes([]any{make([]byte, 32), uint(1), uint(2)})
	require.NoError(t, err)
	push, mail := seal(pushwire.Topic()), seal(whisper.TopicFor("mail"))
	count := func(r *requests, destination string) float64 {
		return testutil.ToFloat64(r.counted.WithLabelValues(destination))
	}

	var toPush pushRecorder
	var toMail mailRecorder
	r := newRequests(prometheus.NewRegistry())
	r.push, r.mail = &toPush, &toMail
	for _, payload := range [][]byte{push, mail, plain, {0xff}, nil} {
		r.HandleRequest(enode.ID{}, payload)
	}
	require.Equal(t, [][]byte{push}, toPush.payloads)
	require.Equal(t, [][]byte{mail, plain, {0xff}, nil}, toMail.payloads)
	require.Equal(t, []float64{1, 4, 0}, []float64{count(r, "push"), count(r, "mail"), count(r, "ignored")})

	// Push off: its requests are ignored and counted, and the mailserver does not see them.
	toMail = mailRecorder{}
	r = newRequests(prometheus.NewRegistry())
	r.mail = &toMail
	for _, payload := range [][]byte{push, mail} {
		r.HandleRequest(enode.ID{}, payload)
	}
	require.Equal(t, [][]byte{mail}, toMail.payloads)
	require.Equal(t, []float64{0, 1, 1}, []float64{count(r, "push"), count(r, "mail"), count(r, "ignored")})

	// What comes through the door goes the same ways.
	toPush, toMail = pushRecorder{}, mailRecorder{}
	r = newRequests(prometheus.NewRegistry())
	r.push, r.mail = &toPush, &toMail
	for _, payload := range [][]byte{push, mail} {
		env, err := whisper.DecodeEnvelope(payload)
		require.NoError(t, err)
		r.Request(new(door.Caller), env)
	}
	require.Equal(t, [][]byte{push}, toPush.payloads)
	require.Equal(t, [][]byte{mail}, toMail.payloads)

	// Both off.
	r = newRequests(prometheus.NewRegistry())
	r.HandleRequest(enode.ID{}, mail)
	require.Equal(t, 1.0, count(r, "ignored"))
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return key
}

func compressedHex(key *ecdsa.PublicKey) string {
	return hex.EncodeToString(crypto.CompressPubkey(key))
}
