//go:build !unix

package node

import "errors"

// FreeSpace is not known how to tell here.
func FreeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }
