// Package stranger holds the protocol's document to what it promises: that a client can be
// written from it alone.
package stranger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/testutil/pushnode"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) { pushnode.Main(m) }

// python returns an interpreter that has what stranger.py imports.
func python(t *testing.T) string {
	t.Helper()
	var why []string
	for _, name := range []string{"python3", "/usr/bin/python3"} { // Debian's own has Debian's packages
		out, err := exec.CommandContext(t.Context(), name, "stranger.py", "--help").CombinedOutput()
		if err == nil {
			return name
		}
		why = append(why, name+": "+err.Error()+": "+lastLine(out))
	}
	t.Skipf("there is no Python 3.9 with cryptography and pycryptodome (Debian: python3-cryptography, python3-pycryptodome): %s", strings.Join(why, "; "))
	return ""
}

func lastLine(out []byte) string {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return string(lines[len(lines)-1])
}

func startNode(t *testing.T) *pushnode.Node {
	return pushnode.Start(t, func(c *config.Config) {
		c.Push.Provider = append(c.Push.Provider, config.Provider{Name: "webhook", Type: "webhook", Options: map[string]any{"AllowHTTP": true, "AllowPrivate": true}})
	})
}

// TestStranger has the client of stranger.py, written from docs/protocol.md with none of our
// code, live a device's life at a node.
func TestStranger(t *testing.T) {
	interpreter := python(t)
	n := startNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stranger := exec.CommandContext(ctx, interpreter, "stranger.py", "--door", n.Door(), "--pushkey", n.Key(), "--chat", "family", "--password", "kitchen", "--count", "3")
	stranger.Stderr = os.Stderr
	out, err := stranger.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, stranger.Start())
	lines := bufio.NewScanner(out)
	until := func(begins string) string {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), begins) {
				return lines.Text()
			}
		}
		require.Fail(t, "the stranger ended", "%v, before it said %q", stranger.Wait(), begins)
		return ""
	}
	require.Contains(t, until("offer"), "webhook")
	require.Equal(t, "registered, state 1", until("registered"), "waiting")
	require.Equal(t, "confirmed, state 2", until("confirmed"), "active")

	chat := client.PasswordChat("family", whisper.TopicFor("family"), "kitchen")
	n.Write(t, chat, "supper is ready")
	require.Contains(t, until("message"), "supper is ready from nobody")
	n.Write(t, client.PasswordChat("family", whisper.TopicFor("family"), "of others"), "not for them")
	until("of another chat") // it wakes, and cannot be opened
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	signed, err := whisper.Seal(ctx, whisper.Draft{Payload: []byte("bring bread"), Topic: chat.Topic, Key: chat.Key, Sign: key, PoW: whisper.DefaultMinPoW})
	require.NoError(t, err)
	require.NoError(t, n.Whisper().Post(ctx, signed))
	require.Contains(t, until("message"), "bring bread from "+hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey)))
	n.Write(t, chat, "please")
	until("message")
	until("unregistered")
	require.NoError(t, stranger.Wait())
}

// A server with another push key than the one that the user was given is refused.
func TestStrangerRefuses(t *testing.T) {
	interpreter := python(t)
	n := startNode(t)
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), interpreter, "stranger.py", "--door", n.Door(),
		"--pushkey", hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey)), "--chat", "family", "--password", "kitchen").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "the offer is not of the push key that was given")
}
