//go:build !race

package dispatch

const fewer = 1
