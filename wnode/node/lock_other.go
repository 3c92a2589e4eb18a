//go:build !unix

package node

import (
	"fmt"
	"os"
)

// LockDir makes dir if it is missing. On this system only the databases' own locks keep a second node out.
func LockDir(dir string) (unlock func(), _ error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--datadir: %w", err)
	}
	return func() {}, nil
}
