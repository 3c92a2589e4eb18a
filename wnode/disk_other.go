//go:build !unix

package wnode

import "errors"

// freeSpace is not known how to tell here.
func freeSpace(string) (uint64, error) { return 0, errors.New("not supported on this system") }
