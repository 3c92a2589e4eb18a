package registry

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/topics"
)

// load fills the index and the counters.
func (r *Registry) load() error {
	restored, err := r.restore()
	if err != nil {
		return err
	}
	if !restored {
		if err := r.scan(); err != nil {
			return err
		}
	}
	if err := r.loadNewcomers(); err != nil {
		return err
	}
	r.gauge()
	return nil
}

// scan reads all registrations. Most of it is opening the sealed records: each
// core reads and opens a range of the ids.
func (r *Registry) scan() error {
	parts := make([]tally, runtime.GOMAXPROCS(0))
	listening := topics.NewParts(len(parts))
	var readers errgroup.Group
	next := []byte{PrefixListening}
	for i := range parts {
		from, to := next, idKey(PrefixListening, r.next/registration.ID(len(parts))*registration.ID(i+1))
		if i == len(parts)-1 {
			to = []byte{PrefixListening + 1}
		}
		readers.Go(func() (err error) {
			parts[i], err = r.loadRange(from, to, &listening[i])
			return err
		})
		next = to
	}
	if err := readers.Wait(); err != nil {
		return err
	}
	for _, found := range parts {
		for class, n := range found.count {
			r.count[class] += n
		}
		r.channels += found.channels
	}
	r.index = topics.Build(listening)
	days := r.store.Scan(prefixChallenged)
	defer days.Release()
	for days.Next() {
		r.challenged++
	}
	if err := days.Release(); err != nil {
		return fmt.Errorf("read challenged addresses: %w", err)
	}
	return nil
}

func (r *Registry) loadRange(from, to []byte, listening *topics.Part) (found tally, err error) {
	it := r.store.ScanOnce(from, to)
	defer it.Release()
	var rec Record
	var plain []byte
	for it.Next() {
		key := it.Key()
		if len(key) != 9 {
			return tally{}, fmt.Errorf("%w: key of %d bytes", errRecord, len(key))
		}
		rec.ID = registration.ID(binary.BigEndian.Uint64(key[1:]))
		opened, err := r.store.OpenInto(plain, key, it.Value())
		if err == nil {
			plain = opened
			err = rec.decodeListening(plain)
		}
		if err != nil {
			r.damaged(rec.ID, err)
			continue
		}
		found.count[rec.class()]++
		found.channels += len(rec.Channels)
		if rec.Listens() {
			listening.Add(rec.ID, rec.Expires, rec.Channels)
		}
	}
	if err := it.Release(); err != nil {
		return tally{}, fmt.Errorf("read registrations: %w", err)
	}
	return found, nil
}
