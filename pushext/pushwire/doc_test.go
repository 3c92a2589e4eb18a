package pushwire

import (
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The examples of docs/protocol.md are the vectors, and its tables name what
// the code names.
func TestProtocolDocument(t *testing.T) {
	if *update {
		t.Skip("the vectors are being written")
	}
	doc, err := os.ReadFile("../../docs/protocol.md")
	require.NoError(t, err)
	vectors := readVectors(t)
	topic := Topic()
	vectors["topic"] = topic[:]
	fences := regexp.MustCompile("(?ms)^ *```(vector|vector-zeros|vector-head|vector-text) ([a-z-]+)\n(.*?)^ *```$").FindAllStringSubmatch(string(doc), -1)
	shown := make(map[string]bool)
	comment := regexp.MustCompile(`#.*`)
	for _, fence := range fences {
		form, name, text := fence[1], fence[2], fence[3]
		shown[name] = true
		want, known := vectors[name]
		require.True(t, known, name)
		if form == "vector-text" {
			require.Equal(t, string(want), strings.TrimSpace(text), name)
			continue
		}
		digits := strings.Join(strings.Fields(comment.ReplaceAllString(text, "")), "")
		if form == "vector-head" {
			require.True(t, strings.HasPrefix(hex.EncodeToString(want), digits), name)
			continue
		}
		if form == "vector-zeros" {
			digits += strings.Repeat("00", len(want)-len(digits)/2)
		}
		require.Equal(t, hex.EncodeToString(want), digits, name)
	}
	for _, v := range vectorRequests() {
		require.True(t, shown[v.name] || v.name == "register-plain", v.name)
	}
	for _, v := range vectorReplies() {
		require.True(t, shown[v.name], v.name)
	}
	for i, name := range codes {
		require.Contains(t, string(doc), fmt.Sprintf("| %d | `%s` |", i, name))
	}
	for i, name := range states {
		require.Contains(t, string(doc), fmt.Sprintf("| %d | %s |", i, name))
	}
	for i, name := range kinds[1:] {
		require.Contains(t, string(doc), fmt.Sprintf("| %d | %s |", i+1, name))
	}
	for i, name := range requestKinds[1:] {
		require.Contains(t, strings.ToLower(string(doc)), fmt.Sprintf("| %d | %s |", i+1, name))
	}
	require.Contains(t, string(doc), fmt.Sprintf("always %d bytes", BodySize))
	require.Contains(t, string(doc), fmt.Sprintf("at most %d.", MaxPayload))
}
