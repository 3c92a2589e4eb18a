package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/vault"
)

// keyRun holds how many runs crashed (8 bytes, big-endian), and a byte that is 1 while
// one goes on.
var keyRun = []byte{vault.Meta, 'r'}

func runRecord(crashes uint64, running byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, crashes), running)
}

// beginRun counts the run before this one as crashed if it did not finish.
func (o *Outbox) beginRun() error {
	value, err := o.store.Get(keyRun)
	switch {
	case errors.Is(err, durable.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read the outbox's run: %w", err)
	case len(value) != len(runRecord(0, 0)):
		return fmt.Errorf("record of the outbox's run has %d bytes, want %d", len(value), len(runRecord(0, 0)))
	default:
		o.crashes = binary.BigEndian.Uint64(value) + uint64(value[8])
	}
	var b durable.Batch
	b.Put(keyRun, runRecord(o.crashes, 1))
	if err := o.store.Write(&b); err != nil {
		return fmt.Errorf("write the outbox's run: %w", err)
	}
	return nil
}

// firstNumber is the last push sequence number that a device without a record may have
// been given: a block of numbers follows that needs no reservation, so that the first
// wake-up of a device does not wait for the disk. A run that crashed may have given out
// some of its own before there was a record; the next run skips that block.
func (o *Outbox) firstNumber() uint64 { return o.crashes * firstBlock }
