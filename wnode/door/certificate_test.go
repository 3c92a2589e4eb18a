package door

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writeCertificate makes a certificate for 127.0.0.1 with a number of its own.
func writeCertificate(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "door"}, DNSNames: []string{"door"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
		at := time.Unix(1_800_000_000+serial, 0) // the clock of a file system may be coarse
		require.NoError(t, os.Chtimes(name, at, at))
	}
	return certFile, keyFile
}

// The door speaks HTTP/2 over TLS, takes a new certificate while it runs, and goes on with the one
// that it has when the files are of no use.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificate(t, dir, 1)
	d := open(t, Options{Rooms: granting(), CertFile: certFile, KeyFile: keyFile})
	require.True(t, d.TLS())
	serial := func() int64 {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport}).Post("https://"+d.addr+RequestPath, "", bytes.NewReader(newEnvelope(t).Raw()))
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, 2, response.ProtoMajor)
		require.Equal(t, byte(frameEnvelope), nextFrame(t, response.Body).kind)
		return response.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	require.EqualValues(t, 1, serial())
	writeCertificate(t, dir, 2)
	require.Eventually(t, func() bool { return serial() == 2 }, 10*time.Second, 10*time.Millisecond)

	require.NoError(t, os.WriteFile(certFile, []byte("half of a file"), 0o600))
	cert := &certificate{certFile: certFile, keyFile: keyFile}
	require.ErrorContains(t, cert.load(time.Now()), "cert.pem")
	time.Sleep(certificateLook) // so that the door looks, and finds this
	require.EqualValues(t, 2, serial())
	require.NoError(t, os.Remove(keyFile))
	require.ErrorContains(t, CheckCertificate(certFile, keyFile), "key.pem")
	writeCertificate(t, dir, 3)
	require.Eventually(t, func() bool { return serial() == 3 }, 10*time.Second, 10*time.Millisecond)
}
