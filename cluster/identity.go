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
	"time"
)

// identity is what nodes with the same push key are known by to each other: a key that is
// derived from it. Both ends of a connection prove that they have it.
type identity struct {
	public      ed25519.PublicKey
	certificate tls.Certificate
}

func newIdentity(secret []byte) (*identity, error) {
	seed, err := hkdf.Key(sha256.New, secret, nil, "whisperpush cluster 1", ed25519.SeedSize)
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

var errStranger = errors.New("the other side has another push key")

// tls is the configuration of either end of a connection.
func (id *identity) tls() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{id.certificate},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // what counts is the key, below
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) != 1 {
				return errStranger
			}
			c, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return errStranger
			}
			if key, ok := c.PublicKey.(ed25519.PublicKey); !ok || !key.Equal(id.public) {
				return errStranger
			}
			return nil
		},
		SessionTicketsDisabled: true,
	}
}
