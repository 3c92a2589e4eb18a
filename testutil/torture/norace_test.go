//go:build !race

package torture

const raceMemory = 1
