package cluster

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// identity is how nodes with the same keys recognize each other: a key derived from one of those
// keys. Both ends of a connection prove that they have it.
type identity struct {
	public      ed25519.PublicKey
	certificate tls.Certificate
}

func newIdentity(secret []byte, use string) (*identity, error) {
	seed, err := hkdf.Key(sha256.New, secret, nil, use, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key of the cluster: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	public := key.Public().(ed25519.PublicKey)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "whisperpush cluster"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(nil, form, form, public, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the cluster: %w", err)
	}
	return &identity{public, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}

var errStranger = errors.New("the other side has other keys")

// tls is the configuration of either end of a connection. The handshake decides who is let in.
func (s *Server) tls(ring *keyring) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{ring.own.certificate},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // the key is what counts, below
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) != 1 {
				return errStranger
			}
			c, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return errStranger
			}
			if key, ok := c.PublicKey.(ed25519.PublicKey); !ok || !s.ring.Load().lets(key) {
				return errStranger
			}
			return nil
		},
		SessionTicketsDisabled: true,
	}
}

// lets reports whether the holder of a key is let in.
func (r *keyring) lets(key ed25519.PublicKey) bool {
	return slices.ContainsFunc(r.known, func(known ed25519.PublicKey) bool { return known.Equal(key) })
}

// shown is the key that the other side of a connection has proved.
func shown(conn *tls.Conn) ed25519.PublicKey {
	if certs := conn.ConnectionState().PeerCertificates; len(certs) == 1 {
		key, _ := certs[0].PublicKey.(ed25519.PublicKey)
		return key
	}
	return nil
}
