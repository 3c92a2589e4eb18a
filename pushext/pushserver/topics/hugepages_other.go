//go:build !linux

package topics

func adviseHuge([]byte) {}
