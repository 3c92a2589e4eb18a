//go:build race

package dispatch

// fewer divides the numbers of the largest tests: the race detector makes them
// twenty times slower, and finds in fewer what there is to find.
const fewer = 10
