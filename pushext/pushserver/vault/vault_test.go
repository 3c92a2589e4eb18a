package vault

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
)

var diskKey = bytes.Repeat([]byte{7}, DiskKeySize)

func TestStoreRefusesAnotherKeyAndFormat(t *testing.T) {
	disk := faultstore.New()
	open := func(key []byte) (*Vault, error) { return Open("", key, durable.Options{Storage: disk}) }
	s, err := open(diskKey)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	_, err = open(bytes.Repeat([]byte{8}, DiskKeySize))
	require.ErrorIs(t, err, ErrDiskKey)
	_, err = open(diskKey[1:])
	require.ErrorContains(t, err, "disk key has 31 bytes, want 32")

	s, err = open(diskKey)
	require.NoError(t, err)
	var b durable.Batch
	b.Put(KeyFormat, []byte{StoreFormat + 1})
	require.NoError(t, s.Write(&b))
	require.NoError(t, s.Close())
	_, err = open(diskKey)
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, "use the program that wrote it")
}

// A database of before is taken over, once its key is known to be right, and is then of this format.
func TestEarlierFormat(t *testing.T) {
	disk := faultstore.New()
	open := func(key []byte) (*Vault, error) { return Open("", key, durable.Options{Storage: disk}) }
	s, err := open(diskKey)
	require.NoError(t, err)
	var b durable.Batch
	b.Put(KeyFormat, []byte{1})
	require.NoError(t, s.Write(&b))
	require.NoError(t, s.Close())

	_, err = open(bytes.Repeat([]byte{8}, DiskKeySize))
	require.ErrorIs(t, err, ErrDiskKey)
	s, err = open(diskKey)
	require.NoError(t, err)
	format, err := s.Get(KeyFormat)
	require.NoError(t, err)
	require.Equal(t, []byte{StoreFormat}, format)
	require.NoError(t, s.Close())
	for _, wrong := range [][]byte{nil, {}, {0}, {1, 1}, {StoreFormat + 1}} {
		require.False(t, Readable(wrong))
	}
}

func TestSealBindsARecordToItsKey(t *testing.T) {
	s, err := Open("", diskKey, durable.Options{Storage: faultstore.New()})
	require.NoError(t, err)
	defer s.Close()
	secret := []byte("a token that must not be read")
	sealed := s.Seal([]byte("r1"), secret)
	require.NotContains(t, string(sealed), "token")
	require.NotEqual(t, sealed, s.Seal([]byte("r1"), secret))
	plain, err := s.Open([]byte("r1"), sealed)
	require.NoError(t, err)
	require.Equal(t, secret, plain)
	_, err = s.Open([]byte("r2"), sealed)
	require.ErrorIs(t, err, ErrSealed)
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		_, err = s.Open([]byte("r1"), bad)
		require.ErrorIs(t, err, ErrSealed)
		_, err = s.Open([]byte("r1"), sealed[:i])
		require.ErrorIs(t, err, ErrSealed)
	}
	require.Equal(t, s.Fingerprint(secret), s.Fingerprint(bytes.Clone(secret)))
	require.NotEqual(t, s.Fingerprint(secret), s.Fingerprint(secret[1:]))
}
