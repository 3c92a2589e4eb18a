package wnode

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
)

// What send sends is what a subscriber of the node receives, whichever way it was encrypted.
func TestSend(t *testing.T) {
	noLeaks(t)
	s := run(t, loopback.Config(t))
	signer, receiver, key := newKey(t), newKey(t), bytes.Repeat([]byte{7}, 32)
	dir := t.TempDir()
	file := func(name string, secret []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(secret)), 0o600))
		return path
	}
	signFile, keyFile := file("sign", crypto.FromECDSA(signer)), file("key", key)

	for name, test := range map[string]struct {
		filter whisper.Filter
		args   []string
		stdin  string
	}{
		"password":       {whisper.Filter{Key: whisper.KeyFromPassword("family")}, []string{"--topic", "family", "--password", "family", "--payload", "Dinner at 7"}, ""},
		"key, signed":    {whisper.Filter{Key: key, From: &signer.PublicKey}, []string{"--topic", "0x01020304", "--key", keyFile, "--sign", signFile, "--payload", "Dinner at 7", "--pow", "0.5"}, ""},
		"public key":     {whisper.Filter{Identity: receiver}, []string{"--topic", "family", "--to", hex.EncodeToString(crypto.FromECDSAPub(&receiver.PublicKey)), "--ttl", "5"}, "Dinner at 7"},
		"compressed key": {whisper.Filter{Identity: receiver}, []string{"--topic", "family", "--to", hexutil.Encode(crypto.CompressPubkey(&receiver.PublicKey))}, "Dinner at 7"},
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := s.Whisper().Subscribe(test.filter, 1)
			require.NoError(t, err)
			defer sub.Close()
			var stdout, stderr bytes.Buffer
			args := append([]string{"wnode", "send", "--server", s.Self().URLv4()}, test.args...)
			require.Equal(t, 0, Main(t.Context(), args, strings.NewReader(test.stdin), &stdout, &stderr), stderr.String())
			require.Equal(t, "The node has it. Whether it was archived cannot be told: Whisper has no receipt for that.\n", stderr.String())
			select {
			case received := <-sub.C():
				require.Equal(t, "Dinner at 7", string(received.Payload))
				require.Equal(t, "sent "+received.Envelope.Hash().Hex()+"\n", stdout.String())
			case <-time.After(10 * time.Second):
				t.Fatal("the message did not come")
			}
		})
	}
	t.Run("too little work", func(t *testing.T) {
		var stdout, stderr bytes.Buffer
		args := []string{"wnode", "send", "--server", s.Self().URLv4(), "--topic", "t", "--password", "p", "--payload", "x", "--pow", "0.1"}
		require.Equal(t, 1, Main(t.Context(), args, nil, &stdout, &stderr))
		require.Equal(t, "wnode: --pow is 0.1, and the node takes no message with less than 0.2\n", stderr.String())
	})
}
