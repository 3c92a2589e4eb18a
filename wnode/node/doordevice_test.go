package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/faultproxy"
	"whisperpush/whisper"
)

// The SDK reaches a server over HTTPS with TLS: it registers, is woken, fetches, reads the
// history and posts, and needs nothing but the door's address and the push key.
func TestDeviceOverHTTPS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certFile, keyFile, roots := newCertificate(t)
	w.cfg.Door.Enabled, w.cfg.Door.CertFile, w.cfg.Door.KeyFile = true, certFile, keyFile
	w.restart(t, true)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	open := func(store client.Store) *client.Device {
		return w.deviceOf(t, client.Config{Server: w.door, PushKey: compressedHex(w.PushKey()), Store: store, HTTP: transport})
	}
	d := open(&w.state)
	require.NoError(t, d.Register(t.Context(), client.Registration{
		Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(w.token)}},
	}))
	event, err := d.Receive(t.Context(), w.ring(t))
	require.NoError(t, err)
	require.Equal(t, pushwire.Challenge, event.Kind)
	require.True(t, d.Active())
	d.Sleep()

	w.post(t, "to the sleeping phone")
	require.Equal(t, []string{"to the sleeping phone"}, shows(t, d, w.ring(t)))

	alice := open(nil)
	event, err = alice.History(t.Context())
	require.NoError(t, err)
	require.Len(t, event.Previews, 1, "of another device, by its history")
	sealed, err := whisper.Seal(t.Context(), client.Compose(loopChat(), []byte("through the door"), nil, time.Now()))
	require.NoError(t, err)
	hash, err := alice.Post(t.Context(), sealed, false)
	require.NoError(t, err)
	found, _, err := w.archive.ByHash(t.Context(), []common.Hash{hash})
	require.NoError(t, err)
	require.Len(t, found, 1, "it is archived when Post returns")
	require.Equal(t, []string{"through the door"}, shows(t, d, w.ring(t)))
	status, err := d.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, status.Routes)

	credential, err := d.Credential()
	require.NoError(t, err)
	require.Contains(t, string(credential), w.door)

	stranger := w.deviceOf(t, client.Config{Server: w.door, PushKey: compressedHex(w.PushKey())})
	err = stranger.Connect(t.Context())
	require.NoError(t, err, "nothing is asked yet")
	_, err = stranger.Status(t.Context())
	require.ErrorContains(t, err, "certificate", "the platform does not know who signed it")
}

// newCertificate makes a certificate for 127.0.0.1.
func newCertificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	require.NoError(t, os.WriteFile(certFile, text, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	roots = x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(text))
	return certFile, keyFile, roots
}

// What the preview of one short message takes on the wire, beside its push. -v prints the
// figures of docs/performance.md.
func TestBytesOfAPreview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certFile, keyFile, roots := newCertificate(t)
	w.cfg.Door.Enabled, w.cfg.Door.CertFile, w.cfg.Door.KeyFile = true, certFile, keyFile
	w.restart(t, true)

	listen := func(target string) *faultproxy.Proxy {
		p, err := faultproxy.Listen(target, faultproxy.Profile{}, 1)
		require.NoError(t, err)
		t.Cleanup(p.Close)
		return p
	}
	self := w.link.Self()
	link := listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(self.TCP())))
	door := listen(strings.TrimPrefix(w.door, "https://"))
	_, port, err := net.SplitHostPort(link.Addr())
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)

	bytesOf := func(p *faultproxy.Proxy, do func()) int64 {
		upBefore, downBefore := p.Bytes()
		do()
		up, down := p.Bytes()
		return up + down - upBefore - downBefore
	}
	got := make(map[string]int64)
	for _, way := range []struct {
		name  string
		proxy *faultproxy.Proxy
		cfg   client.Config
	}{
		{"devp2p", link, client.Config{Server: enode.NewV4(self.Pubkey(), net.IPv4(127, 0, 0, 1), number, 0).URLv4()}},
		{"https", door, client.Config{Server: "https://" + door.Addr(), HTTP: &http.Transport{ForceAttemptHTTP2: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}}}},
	} {
		way.cfg.PushKey = compressedHex(w.PushKey())
		d := w.deviceOf(t, way.cfg)
		token := w.fcm.NewToken()
		w.token = token
		require.NoError(t, d.Register(t.Context(), client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(token)}}}))
		_, err := d.Receive(t.Context(), w.ring(t))
		require.NoError(t, err)
		preview := func(name string) {
			w.post(t, "supper is ready")
			push := w.ring(t)
			got[name] = bytesOf(way.proxy, func() {
				require.Equal(t, []string{"supper is ready"}, shows(t, d, push))
				d.Sleep() // the end of the connection counts as well
			})
		}
		d.Sleep()
		way.proxy.ResetAll()                             // a connection whose last stream has not ended in that moment outlives Sleep
		preview(way.name + " after a former connection") // https: with its ticket
		w.post(t, "supper is ready")
		shows(t, d, w.ring(t)) // connects
		w.post(t, "supper is ready")
		push := w.ring(t)
		got[way.name+" on an open connection"] = bytesOf(way.proxy, func() { shows(t, d, push) })
		d.Sleep()
		if transport, ok := way.cfg.HTTP.(*http.Transport); ok {
			way.proxy.ResetAll()
			transport.TLSClientConfig.ClientSessionCache.Put(strings.Split(door.Addr(), ":")[0], nil)
			preview("https for the first time")
		}
		require.NoError(t, d.Unregister(t.Context()))
	}
	for name, n := range got {
		t.Logf("%s: %d bytes", name, n)
	}
	require.Less(t, got["https after a former connection"], got["https for the first time"])
	require.Less(t, got["https on an open connection"], got["https after a former connection"])
}
