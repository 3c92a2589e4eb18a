package inbox

import (
	"bytes"
	"context"
	"errors"
)

var (
	errCrash = errors.New("the process ended")
	errFull  = errors.New("no space left on device")
)

// disk is a storage in memory that can be full, torn and put back.
type disk struct {
	b     []byte
	kept  []byte
	limit int                        // bytes; 0: none
	step  func() (torn int, ok bool) // called before every write; false: the process ends, with so many bytes in a thousand written
}

func (d *disk) Lock(context.Context) (func(), error) { return func() {}, nil }

func (d *disk) Read(from int64, most int) ([]byte, error) {
	if from >= int64(len(d.b)) {
		return nil, nil
	}
	return d.b[from:min(int64(len(d.b)), from+int64(most))], nil
}

func (d *disk) Append(at int64, b []byte) error {
	next := append(bytes.Clone(d.b[:at]), b...)
	if d.step != nil {
		if torn, ok := d.step(); !ok {
			d.b = next[:int(at)+len(b)*torn/1000]
			return errCrash
		}
	}
	if d.limit > 0 && len(next) > d.limit {
		d.b = next[:max(int(at), d.limit)]
		return errFull
	}
	d.b = next
	return nil
}

func (d *disk) Replace(b []byte) error {
	if d.step != nil {
		if _, ok := d.step(); !ok {
			return errCrash
		}
	}
	if d.limit > 0 && len(b) > d.limit {
		return errFull
	}
	d.b = bytes.Clone(b)
	return nil
}

func (d *disk) Keep(b []byte) error {
	d.kept = bytes.Clone(b)
	return nil
}
