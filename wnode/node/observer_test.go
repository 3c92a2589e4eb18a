package node

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// observed are the pushes of each kind and filling that a platform can see.
const observed = 12

// The platform as an observer: it has every push, and knows every envelope of
// the network. All it learns is that a token was woken.
func TestPlatformObserver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, true)
	d := w.register(t)
	hashes := make([]common.Hash, 0, observed)
	for i := range observed {
		e, err := whisper.Seal(t.Context(), whisper.Draft{
			Payload: fmt.Appendf(nil, "message %d", i), Topic: loopChat().Topic, Key: loopChat().Key, PoW: whisper.DefaultMinPoW,
		})
		require.NoError(t, err)
		hashes = append(hashes, e.Hash())
		require.NoError(t, w.whisper.Post(t.Context(), e))
		if push := w.ring(t); i%3 == 0 { // some pushes name one envelope, some several
			require.NotEmpty(t, shows(t, d, push))
		}
	}
	pushes := w.fcm.Received()
	require.Len(t, pushes, observed+1)

	// The challenge looks like the others. So does every push but for one bit
	// beyond the 20 collapsible ones that FCM takes at once: whether something of
	// the device waits unfetched (pushext.Notification.Unreplaced).
	first := pushes[0] // the challenge looks like the others
	collapse := pushes[len(pushes)-1].CollapseID
	var sealed [][]byte
	for _, push := range pushes {
		require.Equal(t, len(first.Body), len(push.Body), "every body has one size")
		require.Equal(t, first.TTL, push.TTL)
		require.Equal(t, first.Urgent, push.Urgent)
		require.Equal(t, collapse, push.CollapseID, "it is the registration's, whatever the message")
		require.Equal(t, withoutCollapseKey(first), withoutCollapseKey(push), "every request has one size")
		blob := openJSON(t, push)
		require.Len(t, blob, pushwire.SealedSize)
		sealed = append(sealed, blob)

		topic := loopChat().Topic
		for _, known := range append([][]byte{topic[:], []byte(topic.String()), []byte("family")}, known(hashes)...) {
			require.False(t, bytes.Contains(push.Raw, known), "a push shows what is public")
			require.False(t, bytes.Contains(blob, known), "a sealed payload shows what is public")
		}
	}
	requireUnrelated(t, sealed)
}

// withoutCollapseKey is the length of a request but for its collapse key.
func withoutCollapseKey(push emulate.Push) int {
	return len(bytes.Replace(push.Raw, fmt.Appendf(nil, `"collapse_key":%q,`, push.CollapseID), nil, 1))
}

// openJSON returns the sealed payload in a push, and demands that there is
// nothing beside it.
func openJSON(t *testing.T, push emulate.Push) []byte {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(push.Body, &fields))
	require.Len(t, fields, 2, "v and p, and nothing else")
	blob, err := base64.StdEncoding.DecodeString(fields["p"].(string))
	require.NoError(t, err)
	return blob
}

func known(hashes []common.Hash) [][]byte {
	var forms [][]byte
	for _, h := range hashes {
		forms = append(forms, h[:], h[:8], []byte(hex.EncodeToString(h[:8])), []byte(base64.StdEncoding.EncodeToString(h[:6])))
	}
	return forms
}

// requireUnrelated demands that no two texts share a run of 8 bytes anywhere:
// by chance that happens to a thousand random KiB once in 10^7 runs.
func requireUnrelated(t *testing.T, texts [][]byte) {
	t.Helper()
	seen := make(map[[8]byte]int)
	for i, text := range texts {
		for at := 0; at+8 <= len(text); at++ {
			run := [8]byte(text[at:])
			other, ok := seen[run]
			require.False(t, ok && other != i, "pushes %d and %d share 8 bytes", other, i)
			seen[run] = i
		}
	}
}
