package config

import (
	"fmt"
	"slices"
	"strings"
)

// listed is how many names a sentence may list.
const listed = 12

// Suggest ends the sentence about a name nobody knows, a key or a flag: with the nearest of those known if it may
// have been meant, else with all of them if they are few. A key with nearly the same last part counts as near, for
// the usual mistake beside a typing error is the wrong table.
func Suggest(key string, known []string) string {
	if len(known) == 0 {
		return "remove it"
	}
	plain := func(s string) string { return strings.ToLower(strings.TrimLeft(s, "-")) }
	last := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	far := func(candidate string) int {
		a, b := plain(key), plain(candidate)
		return min(distance(a, b), 1+2*distance(last(a), last(b)))
	}
	nearest := slices.MinFunc(known, func(a, b string) int { return far(a) - far(b) })
	switch {
	case far(nearest) <= min(3, (len(plain(key))+1)/3):
		return fmt.Sprintf("did you mean %q?", nearest)
	case len(known) <= listed:
		return "give one of " + strings.Join(known, ", ")
	}
	return "wnode --help lists the flags, and wnode dumpconfig the settings"
}

// distance is the number of letters to insert, drop or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above+1, row[j]+1, diagonal+cost)
			diagonal = above
		}
	}
	return row[len(b)]
}
