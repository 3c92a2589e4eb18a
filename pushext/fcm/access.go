package fcm

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"whisperpush/pushext/attempt"
)

const (
	messagingScope = "https://www.googleapis.com/auth/firebase.messaging"
	grantType      = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523 section 2.1
)

// newAccess exchanges JWTs signed by the service account for access tokens.
func newAccess(a account, client *http.Client, timeout time.Duration) *attempt.Access {
	key, _ := parseKey(a.PrivateKey) // readAccount has checked it
	return attempt.NewAccess(client, a.TokenURI, timeout, func(now time.Time) (url.Values, error) {
		assertion := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss":   a.ClientEmail,
			"aud":   a.TokenURI,
			"scope": messagingScope,
			"iat":   now.Unix(),
			"exp":   now.Add(time.Hour).Unix(),
		})
		if a.PrivateKeyID != "" {
			assertion.Header["kid"] = a.PrivateKeyID
		}
		signed, err := assertion.SignedString(key)
		return url.Values{"grant_type": {grantType}, "assertion": {signed}}, err
	})
}

func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, errors.New("it is neither PKCS #8 nor PKCS #1")
		}
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an RSA key")
	}
	return private, nil
}
