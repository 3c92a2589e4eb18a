//go:build !linux

package pushext

func adviseHuge([]byte) {}
