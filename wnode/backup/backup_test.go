package backup_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
	"whisperpush/wnode/backup"
)

func envelope(t testing.TB, n uint64, size int) *whisper.Envelope {
	now := uint32(time.Now().Unix())
	data := binary.BigEndian.AppendUint64(make([]byte, 0, size+8), n)
	raw, err := rlp.EncodeToBytes([]any{now + 600, uint32(600), []byte{1, 2, 3, byte(n)}, append(data, make([]byte, size)...), n})
	require.NoError(t, err)
	env, err := whisper.DecodeEnvelope(raw)
	require.NoError(t, err)
	return env
}

func store(t testing.TB, a *archive.Archive, envs ...*whisper.Envelope) {
	done := make(chan error, 1)
	a.Archive(t.Context(), envs, func(err error) { done <- err })
	require.NoError(t, <-done)
}

// While envelopes are archived and the cursor follows, each copy is whole, its cursor is not ahead of its archive, and
// no writer waits for it.
func TestBackupUnderLoad(t *testing.T) {
	a, err := archive.Open(t.TempDir(), archive.Options{Retention: -1})
	require.NoError(t, err)
	defer a.Close()
	for n := range uint64(200) {
		store(t, a, envelope(t, n, 60_000)) // several files
	}
	var writers sync.WaitGroup
	stop := make(chan struct{})
	written := 0
	writers.Go(func() {
		for n := uint64(1000); ; n++ {
			select {
			case <-stop:
				return
			default:
				store(t, a, envelope(t, n, 100))
				written++
			}
		}
	})
	source := backup.Source{
		Program: "test", Keys: map[string][]byte{"nodekey": []byte("00\n")}, Archive: a,
		Push: func(each func(key, value []byte) error) error {
			return each([]byte("mc"), binary.BigEndian.AppendUint64(nil, a.Last()))
		},
		Cursor: func(_, value []byte) (uint64, bool) { return binary.BigEndian.Uint64(value), true },
	}
	for range 5 {
		var out bytes.Buffer
		m, err := backup.Write(t.Context(), &out, source, nil)
		require.NoError(t, err)
		require.LessOrEqual(t, m.Cursor, m.Last)
		var last uint64
		keys := map[string]string{}
		got, err := backup.ReadTar(&out, backup.Target{
			Key:    func(name string, content []byte) error { keys[name] = string(content); return nil },
			Record: func(r archive.Record) error { last = r.Seq; return nil },
		})
		require.NoError(t, err)
		require.Equal(t, m, got)
		require.Equal(t, m.Last, last)
		require.Equal(t, map[string]string{"nodekey": "00\n"}, keys)
	}
	close(stop)
	writers.Wait()
	require.Positive(t, written)
}

// A backup that was cut off or changed anywhere is told, in both forms.
func TestDamagedBackup(t *testing.T) {
	a, err := archive.Open(t.TempDir(), archive.Options{Retention: -1})
	require.NoError(t, err)
	defer a.Close()
	store(t, a, envelope(t, 1, 100), envelope(t, 2, 100))
	var out bytes.Buffer
	_, err = backup.Write(t.Context(), &out, backup.Source{Keys: map[string][]byte{"nodekey": []byte("key")}, Archive: a}, nil)
	require.NoError(t, err)
	whole := out.Bytes()
	_, err = backup.ReadTar(bytes.NewReader(whole), backup.Target{})
	require.NoError(t, err)
	end := len(bytes.TrimRight(whole, "\x00"))
	for n := 0; n < end; n += 97 {
		_, err := backup.ReadTar(bytes.NewReader(whole[:n]), backup.Target{})
		require.ErrorIs(t, err, backup.ErrDamaged, n)
	}

	dir := filepath.Join(t.TempDir(), "b")
	require.NoError(t, os.MkdirAll(dir+".partial/left", 0o700), "what an interrupted one left")
	_, err = backup.SaveDir(bytes.NewReader(whole), dir)
	require.NoError(t, err)
	names := []string{"keys/nodekey", "archive/00000000000000000001.records"}
	for _, name := range names {
		path := filepath.Join(dir, name)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		for n := range content {
			content[n] ^= 4
			require.NoError(t, os.WriteFile(path, content, 0o600))
			_, err = backup.ReadDir(dir, backup.Target{})
			require.ErrorIs(t, err, backup.ErrDamaged, "%s %d", name, n)
			content[n] ^= 4
		}
		require.NoError(t, os.Remove(path))
		_, err = backup.ReadDir(dir, backup.Target{})
		require.ErrorIs(t, err, backup.ErrDamaged)
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
	_, err = backup.ReadDir(dir, backup.Target{})
	require.NoError(t, err)

	// Files of other names, and what is no file, are refused.
	for _, header := range []*tar.Header{
		{Name: "../nodekey", Mode: 0o600, Typeflag: tar.TypeReg}, {Name: "keys/nodekey", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "keys/nodekey", Mode: 0o600, Typeflag: tar.TypeReg, Size: 1 << 20},
	} {
		var evil bytes.Buffer
		w := tar.NewWriter(&evil)
		require.NoError(t, w.WriteHeader(header))
		io.CopyN(w, zeros{}, header.Size)
		require.NoError(t, w.Close())
		_, err = backup.ReadTar(bytes.NewReader(evil.Bytes()), backup.Target{})
		require.ErrorIs(t, err, backup.ErrDamaged, header.Name)
		_, err = backup.SaveDir(bytes.NewReader(evil.Bytes()), filepath.Join(t.TempDir(), "evil"))
		require.ErrorIs(t, err, backup.ErrDamaged, header.Name)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzReadTar(f *testing.F) {
	var out bytes.Buffer
	_, err := backup.Write(f.Context(), &out, backup.Source{
		Keys:   map[string][]byte{"nodekey": []byte("key")},
		Push:   func(each func(key, value []byte) error) error { return each([]byte("k"), []byte("v")) },
		Cursor: func(_, _ []byte) (uint64, bool) { return 0, false },
	}, nil)
	require.NoError(f, err)
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		backup.ReadTar(bytes.NewReader(b), backup.Target{Push: func(_, _ []byte) error { return nil }})
	})
}
