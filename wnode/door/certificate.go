package door

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateLook is the shortest interval between two looks at the files.
const certificateLook = time.Second

// certificate is a certificate and its key in files. They are read again when they change,
// because renewing a certificate replaces them while the server runs.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu     sync.Mutex // guards the following
	pair   *tls.Certificate
	state  [2]fileState
	looked time.Time
}

type fileState struct {
	size    int64
	changed time.Time
}

func openCertificate(certFile, keyFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if err := c.load(time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

// CheckCertificate returns nil if a server can use the files, or else what is wrong with which
// file.
func CheckCertificate(certFile, keyFile string) error {
	_, err := openCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	return err
}

// get returns the newest certificate that could be read. It implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= certificateLook {
		if err := c.load(now); err != nil {
			c.logger.Error("the door goes on with the certificate that it has", "err", err)
		}
	}
	return c.pair, nil
}

// load reads the files if they changed since they were last read.
func (c *certificate) load(now time.Time) error {
	c.looked = now
	var state [2]fileState
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("certificate of the door: %w", err)
		}
		state[i] = fileState{info.Size(), info.ModTime()}
	}
	if state == c.state {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.state = state // a bad one is reported once, not at every connection
		return fmt.Errorf("certificate of the door, %q with the key %q: %w", c.certFile, c.keyFile, err)
	}
	if c.pair != nil {
		c.logger.Info("the door has a new certificate")
	}
	c.pair, c.state = &pair, state
	return nil
}
