package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Damage is a part of the archive that could not be used. Open logs it.
type Damage struct {
	// Partition is the name of the directory and SetAside what it was renamed to.
	Partition, SetAside string
	// From and To are the sequences that are missing because of it, inclusive. To
	// is an upper bound.
	From, To uint64
	// Err says what is wrong with it. It is nil for sequences that were missing
	// before this start.
	Err error
}

// Damage returns what Open and later reads found damaged or missing.
func (a *Archive) Damage() []Damage {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Clone(a.damage)
}

// DamagedParts returns the names of the parts that were set aside, by this process
// or an earlier one, and that Recover has not salvaged yet.
func (a *Archive) DamagedParts() []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Clone(a.aside)
}

// DamagedParts returns the names of the parts of the archive in dir that were set
// aside as damaged and that Recover has not salvaged yet: their envelopes are not
// served. It changes nothing, may be called while the archive is open, and does not
// need an archive to exist.
func DamagedParts(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() && awaitsRecovery(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// awaitsRecovery reports whether a directory of the archive was set aside and has
// not been salvaged since. A recovery keeps the damaged files under another name.
func awaitsRecovery(name string) bool {
	_, ok := parseQuarantined(name)
	return ok && !strings.HasSuffix(name, recoveredSuffix) && strings.Count(name, quarantineSuffix) == 1
}

// setAside renames a damaged partition, which must be closed.
func (a *Archive) setAside(name string, first uint64, cause error) error {
	to := quarantineName(name, time.Now())
	if err := a.vol.rename(name, to); err != nil {
		return fmt.Errorf("set damaged partition %s aside: %w", name, err)
	}
	if err := a.vol.sync(); err != nil {
		return err
	}
	a.mu.Lock()
	a.aside = append(a.aside, to)
	a.damage = append(a.damage, Damage{
		Partition: name, SetAside: to, From: first, To: first + maxPartitionRecords - 1, Err: cause,
	})
	a.mu.Unlock()
	a.log.Error("DAMAGED part of the archive set aside; its envelopes are not served until \"wnode recover\" has salvaged it",
		"partition", name, "renamed", to, "from", first, "err", cause)
	return nil
}

// replaceActive sets the active partition aside and begins another. Only the
// writer calls it.
func (a *Archive) replaceActive(cause error) error {
	p := a.active()
	p.mu.Lock()
	if p.db != nil {
		p.db.Close()
		p.db = nil
	}
	p.mu.Unlock()
	a.mu.Lock()
	a.parts = a.parts[: len(a.parts)-1 : len(a.parts)-1]
	if a.frozen != nil && a.frozen.part == p {
		a.frozen = nil
	}
	a.mu.Unlock()
	a.metrics.damaged.Inc()
	err := a.setAside(p.name, p.first, cause)
	// Its envelopes are no longer in the index, so its sequences must not be reused.
	if err := errors.Join(err, a.begin(a.Last()+1)); err != nil {
		a.mu.Lock()
		a.parts = append(a.parts, p) // tried again with the next write
		a.mu.Unlock()
		return err
	}
	a.saveBook(false)
	a.tail.reset(a.Last())
	return nil
}

// reportGaps adds the sequences that are missing between the partitions to the
// damage, unless a partition that was set aside now explains them.
func (a *Archive) reportGaps() {
	for i := 1; i < len(a.parts); i++ {
		before, p := a.parts[i-1], a.parts[i]
		last := before.indexed()
		if a.frozen != nil && a.frozen.part == before {
			_, last = a.frozen.bounds()
		}
		missing, sure := a.book.lost(last, p.first)
		if missing == 0 && sure {
			continue
		}
		known := false
		for j := range a.damage {
			if d := &a.damage[j]; d.From > last && d.From < p.first {
				d.To = min(d.To, p.first-1)
				known = true
			}
		}
		if !known {
			a.log.Error("archive has a hole", "from", last+1, "before", p.first, "missing", missing, "perhaps more", !sure)
			a.damage = append(a.damage, Damage{From: last + 1, To: p.first - 1})
		}
	}
	slices.SortFunc(a.damage, func(x, y Damage) int {
		if x.From < y.From {
			return -1
		}
		return 1
	})
	for j := range a.damage {
		d := &a.damage[j]
		if j+1 < len(a.damage) {
			d.To = min(d.To, a.damage[j+1].From-1)
		}
		d.To = max(d.From, a.book.used(d.To))
	}
}
