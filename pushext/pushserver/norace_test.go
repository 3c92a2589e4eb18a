//go:build !race

package pushserver

const scale = 1
