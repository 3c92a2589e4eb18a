package portable_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/portable"
	"whisperpush/whisper"
)

func record(t testing.TB, n int) archive.Record {
	raw, err := rlp.EncodeToBytes([]any{uint32(1_600_000_000 + n), uint32(50), []byte{1, 2, 3, byte(n)}, bytes.Repeat([]byte{byte(n)}, 20), uint64(n)})
	require.NoError(t, err)
	env, err := whisper.DecodeEnvelope(raw)
	require.NoError(t, err)
	return archive.Record{Seq: uint64(n), Hash: env.Hash(), Topic: env.Topic, Sent: env.Sent(), Received: time.UnixMilli(1_700_000_000_000 + int64(n)), Envelope: env}
}

func stream(t testing.TB, records ...archive.Record) []byte {
	var out bytes.Buffer
	w, err := portable.NewWriter(&out)
	require.NoError(t, err)
	for _, r := range records {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func read(b []byte) (all []archive.Record, err error) {
	r, err := portable.NewReader(bytes.NewReader(b))
	for err == nil {
		var one archive.Record
		if one, err = r.Next(); err == nil {
			all = append(all, one)
		}
	}
	return all, err
}

// What is read is what was written; a stream that was cut off anywhere, or changed in any bit, is told.
func TestStream(t *testing.T) {
	records := []archive.Record{record(t, 1), record(t, 2), record(t, 300)}
	whole := stream(t, records...)
	got, err := read(whole)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, records, got)
	for n := range whole {
		_, err := read(whole[:n])
		require.ErrorIs(t, err, portable.ErrDamaged, n)
		for bit := range 8 {
			whole[n] ^= 1 << bit
			_, err := read(whole)
			require.ErrorIs(t, err, portable.ErrDamaged, n)
			whole[n] ^= 1 << bit
		}
	}
	_, err = read(append(bytes.Clone(whole), 0))
	require.ErrorIs(t, err, portable.ErrDamaged)
	got, err = read(stream(t))
	require.ErrorIs(t, err, io.EOF)
	require.Empty(t, got)
}

// The bytes of the format, which files on people's disks have.
func TestStreamVector(t *testing.T) {
	require.Equal(t, "777061726368310a723200000000000000010000018bcfe56801e1845f5e1001328401020301940101010101010101010101010101010101010101017a0000000000000001e0f2f10249b9f05212bda466b0b13441058e79e01752c8e56361887dfb45f55c", hex.EncodeToString(stream(t, record(t, 1))))
}

func FuzzReader(f *testing.F) {
	f.Add(stream(f, record(f, 1)))
	f.Add(stream(f, record(f, 1), record(f, 7)))
	f.Add([]byte("wparch1\nr\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := read(b)
		require.Error(t, err) // also at the end
		if err == io.EOF {
			require.Equal(t, b, stream(t, all...))
		}
	})
}
