package durable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/durable/faultstore"
)

// A disk of which every operation fails for a while, from any operation on, costs nothing that was acknowledged, and the
// database opens again.
func TestOutageAtAnyOperation(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := faultstore.New()
		o := Options{Storage: s, WriteBuffer: 64 << 10, NoCompression: true}
		d, err := Open("db", o)
		require.NoError(t, err)
		acked := map[string]int{}
		write := func(n int) error {
			var b Batch
			key := fmt.Sprint("key ", n)
			b.Put([]byte(key), make([]byte, r.IntN(3000)))
			err := d.Write(&b)
			if err == nil {
				acked[key]++
			}
			return err
		}
		for n := range 5 + r.IntN(40) {
			require.NoError(t, write(n))
		}
		var left atomic.Int64 // operations until it fails; the database has goroutines of its own
		left.Store(r.Int64N(12))
		s.Disk().SetFault(func(faultstore.Op) error {
			if left.Add(-1) >= 0 {
				return nil
			}
			return errors.New("I/O error")
		})
		for n := range 3 + r.IntN(10) {
			write(1000 + n)
		}
		s.Disk().SetFault(nil)
		if r.IntN(2) == 0 {
			write(2000)
		}
		d.Close()
		d, err = Open("db", o)
		require.NoError(t, err, "seed %d", seed)
		for key := range acked {
			_, err := d.Get([]byte(key))
			require.NoError(t, err, "seed %d, %s", seed, key)
		}
		require.NoError(t, d.Close())
	}
}
