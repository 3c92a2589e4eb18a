package pushext

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
)

var diskKey = bytes.Repeat([]byte{7}, DiskKeySize)

func TestStoreRefusesAnotherKeyAndFormat(t *testing.T) {
	disk := faultstore.New()
	open := func(key []byte) (*store, error) { return openStore("", key, durable.Options{Storage: disk}) }
	s, err := open(diskKey)
	require.NoError(t, err)
	require.NoError(t, s.close())

	_, err = open(bytes.Repeat([]byte{8}, DiskKeySize))
	require.ErrorIs(t, err, ErrDiskKey)
	_, err = open(diskKey[1:])
	require.ErrorContains(t, err, "disk key has 31 bytes, want 32")

	s, err = open(diskKey)
	require.NoError(t, err)
	var b leveldb.Batch
	b.Put(keyFormat, []byte{storeFormat + 1})
	require.NoError(t, s.write(&b))
	require.NoError(t, s.close())
	_, err = open(diskKey)
	require.ErrorIs(t, err, ErrFormat)
}

func TestSealBindsARecordToItsKey(t *testing.T) {
	s, err := openStore("", diskKey, durable.Options{Storage: faultstore.New()})
	require.NoError(t, err)
	defer s.close()
	secret := []byte("a token that must not be read")
	sealed := s.seal([]byte("r1"), secret)
	require.NotContains(t, string(sealed), "token")
	require.NotEqual(t, sealed, s.seal([]byte("r1"), secret))
	plain, err := s.open([]byte("r1"), sealed)
	require.NoError(t, err)
	require.Equal(t, secret, plain)
	_, err = s.open([]byte("r2"), sealed)
	require.ErrorIs(t, err, errSealed)
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		_, err = s.open([]byte("r1"), bad)
		require.ErrorIs(t, err, errSealed)
		_, err = s.open([]byte("r1"), sealed[:i])
		require.ErrorIs(t, err, errSealed)
	}
	require.Equal(t, s.fingerprint(secret), s.fingerprint(bytes.Clone(secret)))
	require.NotEqual(t, s.fingerprint(secret), s.fingerprint(secret[1:]))
}
