package foreign_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/mailserver/archive/foreign"
	"whisperpush/testutil/genuinenode"
	"whisperpush/whisper"
)

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// What the genuine mailserver archived is read, each envelope under its own hash; a read goes on behind any key.
func TestReadGenuine(t *testing.T) {
	ctx := limited(t)
	dir := t.TempDir()
	const count = 3000
	_, err := genuinenode.TimeArchive(ctx, genuinenode.Load{Count: count, Topics: 10, Size: 284, From: 1_600_000_000, Span: 100, TTL: 50}, dir, 2)
	require.NoError(t, err)
	var keys [][]byte
	require.NoError(t, foreign.ReadLevelDB(ctx, dir, nil, func(key, raw []byte) error {
		keys = append(keys, bytes.Clone(key))
		return foreign.Check(key, raw)
	}))
	require.Len(t, keys, count)
	var rest [][]byte
	require.NoError(t, foreign.ReadLevelDB(ctx, dir, keys[1000], func(key, _ []byte) error {
		rest = append(rest, bytes.Clone(key))
		return nil
	}))
	require.Equal(t, keys[1001:], rest)
	stop := errors.New("stop")
	require.ErrorIs(t, foreign.ReadLevelDB(ctx, dir, nil, func([]byte, []byte) error { return stop }), stop)
}

// The genuine mailserver opens what is written for it, and serves the mail in it.
func TestGenuineReads(t *testing.T) {
	ctx := limited(t)
	client := genuinenode.Run(t, genuinenode.Options{})
	topic, key := [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte{7}, 32)
	mail, err := client.Subscribe(ctx, genuinenode.Filter{SymKey: key, Topics: [][4]byte{topic}, AllowP2P: true})
	require.NoError(t, err)

	dir := t.TempDir()
	db, err := foreign.CreateLevelDB(dir)
	require.NoError(t, err)
	var sent []common.Hash
	for n := range 300 {
		env, err := whisper.Seal(ctx, whisper.Draft{Payload: fmt.Append(nil, "letter ", n), Topic: topic, Key: key, TTL: 600})
		require.NoError(t, err)
		require.NoError(t, db.Put(env))
		sent = append(sent, env.Hash())
	}
	require.NoError(t, db.Close())
	_, err = foreign.CreateLevelDB(dir)
	require.ErrorContains(t, err, "there is something in")

	server := genuinenode.Run(t, genuinenode.Options{MailDir: dir, MailPassword: "mail password"})
	require.NoError(t, client.AddPeer(ctx, server.Enode))
	require.NoError(t, server.WaitPeer(ctx, client.ID))
	mailKey, err := client.SymKey(ctx, "mail password")
	require.NoError(t, err)
	signKey, err := crypto.GenerateKey()
	require.NoError(t, err)
	_, err = client.RequestMail(ctx, genuinenode.MailRequest{Mailserver: server.ID, SymKey: mailKey, SignKey: signKey, Lower: 1_600_000_000, Upper: math.MaxUint32 - 1})
	require.NoError(t, err)
	var got []common.Hash
	for range sent {
		msg, err := mail.Next(ctx)
		require.NoError(t, err)
		got = append(got, msg.Hash)
	}
	require.ElementsMatch(t, sent, got)
}

// Both forms of keys are known; what a key says of another envelope is told, and so is a database of something else.
func TestKeys(t *testing.T) {
	raw, err := rlp.EncodeToBytes([]any{uint32(1_600_000_050), uint32(50), []byte{1, 2, 3, 4}, []byte("data"), uint64(1)})
	require.NoError(t, err)
	env, err := whisper.DecodeEnvelope(raw)
	require.NoError(t, err)
	hash := env.Hash()
	short := append(binary.BigEndian.AppendUint32(nil, 1_600_000_000), hash[:]...)
	long := append(bytes.Clone(short), 1, 2, 3, 4)
	require.NoError(t, foreign.Check(short, raw))
	require.NoError(t, foreign.Check(long, raw))
	changed := func(key []byte, at int) []byte {
		key = bytes.Clone(key)
		key[at] ^= 1
		return key
	}
	require.ErrorContains(t, foreign.Check(changed(short, 10), raw), "hash")
	require.ErrorContains(t, foreign.Check(changed(short, 0), raw), "sent")
	require.ErrorContains(t, foreign.Check(changed(long, 37), raw), "topic")
	require.ErrorContains(t, foreign.Check(short[:35], raw), "key of 35 bytes")
	require.Error(t, foreign.Check(short, raw[1:]))

	dir := t.TempDir()
	require.ErrorIs(t, foreign.ReadLevelDB(t.Context(), dir, nil, nil), foreign.ErrNotArchive)
	db, err := durable.Open(dir, durable.Options{})
	require.NoError(t, err)
	var b durable.Batch
	b.Put(long, raw)
	b.Put([]byte("zzz"), nil)
	require.NoError(t, db.Write(&b))
	require.NoError(t, db.Close())
	n := 0
	require.ErrorIs(t, foreign.ReadLevelDB(t.Context(), dir, nil, func([]byte, []byte) error { n++; return nil }), foreign.ErrNotArchive)
	require.Equal(t, 1, n)
}
