//go:build race

package torture

// raceMemory is how many times as much memory a node takes with the race detector, which
// keeps a shadow of all of it.
const raceMemory = 2
