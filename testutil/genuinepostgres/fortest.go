//go:build unix

package genuinepostgres

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// For starts a server that runs until the test has ended. Without PostgreSQL on this
// computer it skips the test.
func For(t testing.TB) *Server {
	t.Helper()
	s, err := Start(t.Context())
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Store makes an empty database, and returns its URL as in a node's settings, without the
// password, and the password.
func (s *Server) Store(ctx context.Context) (store, password string, err error) {
	full, err := s.Database(ctx)
	if err != nil {
		return "", "", err
	}
	u, err := url.Parse(full)
	if err != nil {
		return "", "", err
	}
	password, _ = u.User.Password()
	u.User = url.User(u.User.Username())
	return u.String(), password, nil
}

// StoreFor is Store for a test, and also returns a file with the password.
func (s *Server) StoreFor(t testing.TB) (store, passwordFile, password string) {
	t.Helper()
	store, password, err := s.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	passwordFile = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return store, passwordFile, password
}
