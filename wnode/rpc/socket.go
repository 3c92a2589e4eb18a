package rpc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"whisperpush/config"
)

// listenUnix opens the socket at path for its owner alone. A socket that a killed node left behind is replaced.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if !answers(path) { // else the listener below says that it is in use
			os.Remove(path)
		}
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// answers reports whether a program listens on the socket at path.
func answers(path string) bool {
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// maxSocketPath is what a Unix socket address holds on every system we run on, in bytes.
const maxSocketPath = 103

// ListenSocket serves every namespace on the Unix socket at path until stop is called. The error is a sentence for the
// operator.
func ListenSocket(path string, a APIs) (stop func(), _ error) {
	srv, err := a.newServer()
	if err != nil {
		return nil, err
	}
	listener, err := listenUnix(path)
	if err != nil {
		return nil, socketError(path, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeListener(listener) // returns when the listener closes
	}()
	return func() {
		listener.Close()
		<-done
		srv.Stop()
	}, nil
}

// checkSocketPath tells whether there can be a socket at path.
func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("the path of the JSON-RPC socket has %d bytes, at most %d are possible; choose a shorter one with --ipcpath", len(path), maxSocketPath)
	}
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s is not a socket, and the JSON-RPC socket is to be there; choose another path with --ipcpath", path)
	case err == nil && answers(path):
		return socketError(path, syscall.EADDRINUSE)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return socketError(path, err)
}

// socketError says in one sentence why there is no socket at path.
func socketError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the JSON-RPC socket %s is in use by another program; stop that one or choose another path with --ipcpath", path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("this user may not make the JSON-RPC socket %s; choose another path with --ipcpath, or leave the socket out with --ipcdisable", path)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("a part of the path of the JSON-RPC socket %s is a file; choose another with --ipcpath", path)
	}
	return fmt.Errorf("the JSON-RPC socket %s (--ipcpath) cannot be opened: %w", path, err)
}

// SocketPath is where the settings put the socket: a bare name is in the data directory.
func SocketPath(cfg config.Config) string {
	path := cfg.RPC.IPCPath
	if path == "" {
		path = config.Defaults().RPC.IPCPath
	}
	if filepath.Base(path) == path {
		return filepath.Join(cfg.Node.DataDir, path)
	}
	return path
}
