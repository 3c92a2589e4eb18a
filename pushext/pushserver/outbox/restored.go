package outbox

import (
	"encoding/binary"
	"fmt"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
)

// Restored rewrites the records of an outbox that was put back from an older copy, in an
// open database that nobody else uses. Wake-ups were sent since that the copy knows
// nothing of. So that no number and no key of a chain is used twice, each device goes on
// with the current time as its number, which is ahead of any count, and without a chain
// until it registers again. The device takes the gap for lost wake-ups and asks once for
// everything since its cursor. Heads of ledgers were signed as well, so each device is
// given another ledger.
func Restored(s *vault.Vault, now time.Time) error {
	number := uint64(now.Unix())
	var b durable.Batch
	it := s.Scan(Prefix)
	defer it.Release()
	for it.Next() {
		if len(it.Key()) != 9 {
			return fmt.Errorf("%w: key of %d bytes", errDeviceRecord, len(it.Key()))
		}
		d, err := decodeDevice(registration.ID(binary.BigEndian.Uint64(it.Key()[1:])), it.Value())
		if err != nil {
			return err
		}
		b.Put(it.Key(), d.appendRecord(nil, max(number, d.reserved), nil))
		if b.Len() >= maxKeptBatch {
			if err := s.Write(&b); err != nil {
				return err
			}
			b.Reset()
		}
	}
	if err := it.Release(); err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	starts := s.Scan(registration.PrefixChain)
	defer starts.Release()
	for starts.Next() {
		b.Delete(starts.Key())
	}
	if err := starts.Release(); err != nil {
		return fmt.Errorf("read the starts of chains: %w", err)
	}
	EndLedgers(&b, now)
	b.Put(keyRun, runRecord(number/seqBlock+1, 0)) // for devices without a record: see firstNumber
	return s.Write(&b)
}
