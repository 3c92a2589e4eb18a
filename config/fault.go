package config

import (
	"cmp"
	"fmt"
	"slices"
)

// Fault is one thing that is wrong with the settings.
type Fault struct {
	Path string // of the file; empty: it is of none, but of a flag or of a setting that no file gives
	Line int    // in the file, from 1; 0: not known
	Key  string // such as "Node.MaxPeers" or "Push.Provider[0].Rate"; empty: of no single key
	Err  error  // one sentence: what is wrong and what to do
}

// Error implements error. It is the sentence behind the place.
func (f Fault) Error() string {
	switch {
	case f.Path == "":
		return f.Err.Error()
	case f.Line == 0:
		return fmt.Sprintf("%s: %v", f.Path, f.Err)
	}
	return fmt.Sprintf("%s line %d: %v", f.Path, f.Line, f.Err)
}

// Unwrap is the sentence alone.
func (f Fault) Unwrap() error { return f.Err }

// byLine sorts faults as they stand in the file, those without a place last.
func byLine(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Compare(a.Line, b.Line)
	})
}
