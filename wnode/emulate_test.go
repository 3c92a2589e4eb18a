package wnode

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
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

// Each emulator, run as a user runs it: what it prints configures a node's
// provider, whose pushes reach a device that an app registered over HTTP.
func TestEmulate(t *testing.T) {
	for _, kind := range emulate.Types() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			e := runEmulate(t, kind, "--credentials", dir, "--fail", "503:1:7", "--devices", "2")
			require.Len(t, e.devices, 2)

			var cfg config.Config
			file := filepath.Join(dir, "node.toml")
			require.NoError(t, os.WriteFile(file, []byte(e.table), 0o600))
			require.NoError(t, config.Load(file, &cfg))
			providers, err := node.OpenProviders(cfg.Push.Provider)
			require.NoError(t, err)
			defer node.CloseProviders(providers)
			provider := providers[0]
			require.Equal(t, kind, provider.Name())

			address := e.newDevice(t, dir)
			n := pushext.Notification{
				Address: address, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`), CollapseID: "abc", TTL: time.Hour, Urgent: true, Visible: true, ID: "01234567890123456789ab",
			}
			require.NoError(t, provider.Check(n.Address))
			before := time.Now()
			v := provider.Push(t.Context(), n)
			require.NotEqual(t, pushext.Delivered, v.Class, "the scripted failure")
			require.WithinRange(t, v.At, before.Add(7*time.Second), time.Now().Add(7*time.Second), v.Reason)
			v = provider.Push(t.Context(), n)
			require.Equal(t, pushext.Delivered, v.Class, v.Reason)
			require.Contains(t, e.next(t), "urgent, ")
			e.stop()
			require.Contains(t, e.next(t), "1 pushes accepted")
			require.Zero(t, <-e.code)
		})
	}
}

// emulation is a running wnode emulate.
type emulation struct {
	url     string
	devices []string
	table   string      // TOML
	lines   chan string // further output; closed at its end
	stop    context.CancelFunc
	code    chan int
}

func runEmulate(t *testing.T, args ...string) *emulation {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	e := &emulation{lines: make(chan string, 16), stop: cancel, code: make(chan int, 1)}
	go func() {
		defer close(e.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			e.lines <- scanner.Text()
		}
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var stderr bytes.Buffer
		code := Main(ctx, append([]string{"wnode", "emulate"}, args...), nil, in, &stderr)
		in.CloseWithError(io.EOF)
		if code != 0 {
			t.Errorf("wnode emulate: %s", stderr.String())
		}
		e.code <- code
	}()
	t.Cleanup(func() {
		cancel()
		out.Close()
		<-ended
	})
	for line := range e.lines {
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if name == "url" {
			e.url = value
		} else {
			e.devices = append(e.devices, value)
		}
	}
	for line := range e.lines {
		if line == "" {
			break
		}
		e.table += line + "\n"
	}
	require.NotEmpty(t, e.url)
	return e
}

func (e *emulation) next(t *testing.T) string {
	t.Helper()
	line, ok := <-e.lines
	require.True(t, ok, "the emulator ended")
	return line
}

// newDevice registers a device over the control interface.
func (e *emulation) newDevice(t *testing.T, dir string) pushext.Address {
	t.Helper()
	transport := new(http.Transport)
	if strings.HasPrefix(e.url, "https:") {
		roots, err := os.ReadFile(filepath.Join(dir, "apns-ca.pem"))
		require.NoError(t, err)
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(roots))
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Post(e.url+emulate.ControlPath+"devices", "", nil)
	require.NoError(t, err)
	defer answer.Body.Close()
	var device emulate.Device
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&device))
	return pushext.Address{Token: device.Address, Keys: device.Keys}
}
