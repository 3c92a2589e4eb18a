package inbox

import (
	"errors"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

func TestParseLink(t *testing.T) {
	hash := "0x" + strings.Repeat("ab", 32)
	for text, want := range map[string]error{
		"whisper:0x5a4ea131":                          nil,
		"WHISPER:0x5A4EA131":                          nil,
		"whisper:0x5a4ea131.0011223344556677":         nil,
		"whisper:0x5a4ea131.0011223344556677/" + hash: nil,
		"whisper:0x5a4ea131/" + hash:                  nil,
		"whisper:" + hash:                             nil,

		"":                                  ErrLinkForeign,
		"0x5a4ea131":                        ErrLinkForeign,
		"https://example.org/0x5a4ea131":    ErrLinkForeign,
		"whisperer:0x5a4ea131":              ErrLinkForeign,
		"whisper:":                          ErrLinkMalformed,
		"whisper://0x5a4ea131":              ErrLinkMalformed,
		"whisper:0x5a4ea131/":               ErrLinkMalformed,
		"whisper:/" + hash:                  ErrLinkMalformed,
		"whisper:5a4ea131":                  ErrLinkMalformed,
		"whisper:0x5a4ea13":                 ErrLinkMalformed,
		"whisper:0x5a4ea13g":                ErrLinkMalformed,
		"whisper:0X5a4ea131":                ErrLinkMalformed,
		"whisper:0x5a4ea131.":               ErrLinkMalformed,
		"whisper:0x5a4ea131.00112233445566": ErrLinkMalformed,
		"whisper:0x5a4ea131/" + hash + "/":  ErrLinkMalformed,
		"whisper:0x5a4ea131/" + hash + "?x": ErrLinkMalformed,
		"whisper:0x5a4ea131#x":              ErrLinkMalformed,
		"whisper:%30x5a4ea131":              ErrLinkMalformed,
		"whisper:" + hash + "/" + hash:      ErrLinkMalformed,
		" whisper:0x5a4ea131":               ErrLinkForeign,
		"whisper:0x5a4ea131 ":               ErrLinkMalformed,
		"whisper:0x5a4ea131" + strings.Repeat("0", 1<<20): ErrLinkMalformed,
	} {
		l, err := ParseLink(text)
		require.ErrorIs(t, err, want, "%.80q", text)
		if err == nil {
			require.Equal(t, strings.ToLower(text), l.String())
		}
	}
}

// A preview's own link is one of these.
func TestPreviewLink(t *testing.T) {
	p := client.Preview{Topic: whisper.Topic{1, 2, 3, 4}, Hash: common.Hash{5}}
	l, err := ParseLink(p.Link())
	require.NoError(t, err)
	require.Equal(t, Link{Topic: p.Topic, Message: p.Hash, HasChat: true, HasMessage: true}, l)
}

// Whatever the text, the answer is a link that is written as it was read, or a typed
// error of a bounded length.
func FuzzParseLink(f *testing.F) {
	hash := strings.Repeat("ab", 32)
	for _, seed := range []string{"whisper:0x5a4ea131.0011223344556677/0x" + hash, "whisper:0x" + hash, "whisper:0x5a4ea131", "Whisper:", "a:b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLink(text)
		if err != nil {
			if !errors.Is(err, ErrLinkForeign) && !errors.Is(err, ErrLinkMalformed) {
				t.Fatalf("%v", err)
			}
			if len(err.Error()) > 1024 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if !strings.EqualFold(l.String(), text) {
			t.Fatalf("%q was read as %q", text, l)
		}
		again, err := ParseLink(l.String())
		if err != nil || again != l {
			t.Fatalf("%q was read as %+v, %v", l, again, err)
		}
	})
}
