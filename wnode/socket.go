package wnode

import (
	"net"
	"os"
	"path/filepath"
)

// listenUnix opens the socket at path for its owner alone. A socket that a killed node left behind is replaced.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if conn, err := net.Dial("unix", path); err == nil { // somebody lives there; the listener below will say so
			conn.Close()
		} else {
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
