package config

import (
	"fmt"
	"slices"
	"strings"
)

// listed is how many names a sentence may list.
const listed = 12

// Suggest ends the sentence about a name that is not known, such as a flag: with the nearest of those known if that may
// have been meant, else with all of them if they are few, else with otherwise. Capitals and leading dashes do not count.
func Suggest(name string, known []string, otherwise string) string {
	plain := func(s string) string { return strings.ToLower(strings.TrimLeft(s, "-")) }
	far := func(candidate string) int { return distance(plain(name), plain(candidate)) }
	return suggest(known, far, typos(plain(name)), otherwise)
}

// suggestKey is Suggest for a key of a file: the usual mistake beside a typing error is the right key in the wrong
// table.
func suggestKey(key string, known []string, otherwise string) string {
	split := func(s string) (table, last string) {
		s = strings.ToLower(s)
		dot := strings.LastIndexByte(s, '.')
		return s[:max(dot, 0)], s[dot+1:]
	}
	table, last := split(key)
	far := func(candidate string) int {
		itsTable, itsLast := split(candidate)
		d := distance(last, itsLast)
		if table != itsTable { // then it must be all but right, and one in the same table comes first
			d = 2*d + 1
		}
		return d
	}
	return suggest(known, far, typos(last), otherwise)
}

// suggest is a suggestion by a measure of distance and a bound of it.
func suggest(known []string, far func(string) int, bound int, otherwise string) string {
	if len(known) == 0 {
		return "remove it"
	}
	nearest := slices.MinFunc(known, func(a, b string) int { return far(a) - far(b) })
	switch {
	case far(nearest) <= bound:
		return fmt.Sprintf("did you mean %q?", nearest)
	case len(known) <= listed:
		return "give one of " + strings.Join(known, ", ")
	}
	return otherwise
}

// typos is how many wrong letters a name may have for its meaning to be guessed: one in three, and three at most.
func typos(name string) int { return min(3, (len(name)+1)/3) }

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
