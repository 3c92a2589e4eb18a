//go:build !race

package pushext

const scale = 1
