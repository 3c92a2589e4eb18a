package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that is not TOML: the line that is wrong, and what is wrong in it, without the words of a decoder.
func TestLoadRefusesSyntax(t *testing.T) {
	const (
		table  = "the name of a table is not closed; end it as in [Push] or [[Push.Provider]]"
		quote  = "the text on this line is not closed; end it with the quote it begins with"
		pair   = "this line is not of the form Key = value"
		behind = "there is more on this line than a table's name or Key = value"
	)
	for text, want := range map[string]string{
		"[Push":                                  "line 1: " + table,
		"[Push\nEnabled = true\n":                "line 1: " + table,
		"[Push\r\nEnabled = true\r\n":            "line 1: " + table,
		"[Node]\nMaxPeers = 1\n[Push\n\n\n[Shh]": "line 3: " + table,
		"[Push Enabled]\n":                       "line 1: " + table,
		"[[Push.Provider\nType = \"fcm\"\n":      "line 1: " + table,
		"[[Push.Provider]\nType = \"fcm\"\n":     "line 1: " + table,
		"[Push.Provider]]\nType = \"fcm\"\n":     "line 1: " + behind,
		"[\"Push]\nEnabled = true\n":             "line 1: " + quote,
		"[Node]\nDataDir = \"x\nMaxPeers = 3\n":  "line 2: " + quote,
		"[Node]\nDataDir = 'x\n":                 "line 2: " + quote,
		"[Node]\nDataDir = \"C:\\wp\"\n":         "line 2: a backslash in double quotes has to be doubled; put the text of Node.DataDir into single quotes",
		"[Node]\nStaticNodes = [\"a\" \"b\"]\n":  `line 2: the list of Node.StaticNodes is not closed or lacks a comma; write it as ["a", "b"]`,
		"[Node]\nMaxPeers 3\n":                   "line 2: " + pair,
		"[Node]\nMaxPeers: 3\n":                  "line 2: " + pair,
		"{\"Node\": {\"MaxPeers\": 3}}\n":        "line 1: " + pair,
		"[Node]\nMaxPeers =\nNAT = \"any\"\n":    "line 2: Node.MaxPeers has no value",
		"[Node]\nNAT = any\n":                    `line 2: Node.NAT cannot be "any"; write text in quotes, and true and false in small letters`,
		"[Node]\nNoDiscovery = True\n":           `line 2: Node.NoDiscovery cannot be "True"; write text in quotes, and true and false in small letters`,
		"[Node]\nMaxPeers = 1x\n":                "line 2: " + behind,
		"[Node]\n[Node]\nMaxPeers = 2\n":         "line 2: Node is there for the second time; keep one",
		"[Node]\nMaxPeers = 1\nMaxPeers = 2\n":   "line 3: Node.MaxPeers is there for the second time; keep one",
		"[Shh]\nMaxMessageSize = -1\n":           "line 2: Shh.MaxMessageSize is -1, which is out of range",
		"[Node]\nMaxPeers = 3.5\n":               "line 2: the value of Node.MaxPeers is a number; give a whole number",
		"[Node]\nNAT = true\n":                   "line 2: the value of Node.NAT is true or false; give text, in quotes",
		"[Node]\nStaticNodes = \"x\"\n":          `line 2: the value of Node.StaticNodes is text; give a list, such as ["a", "b"]`,
		"[Push]\nProvider = \"fcm\"\n":           "line 2: providers are tables in double brackets; write [[Push.Provider]] above the keys of each",
		"[Push]\nLimits = 3\n":                   "line 2: Push.Limits is a table; write [Push.Limits], and its keys below",
		"[Node]\nDataDir = \"\xff\"\n":           "line 2: the file is not in UTF-8; save it as UTF-8",
	} {
		_, err := load(t, text)
		require.Error(t, err, text)
		_, said, _ := strings.Cut(err.Error(), "node.toml ")
		require.Equal(t, want, said, text)
	}
}
