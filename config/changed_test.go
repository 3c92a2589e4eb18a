package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChanged(t *testing.T) {
	a, b := Defaults(), Defaults()
	require.Empty(t, Changed(a, b))
	b.Node.TrustedNodes = []string{}
	require.Empty(t, Changed(a, b), "no list and an empty one are the same")
	b.Log.Verbosity++
	b.Node.KeyHex = "x"
	b.RPC.HTTP.API = []string{"shh"}
	b.Push.Limits.PoW++
	b.Push.Provider = []Provider{{Name: "fcm", Type: "fcm"}}
	require.Equal(t, []string{"Node.KeyHex", "Push.Limits.PoW", "Push.Provider", "RPC.HTTP.API", "Log.Verbosity"}, Changed(a, b))
	a.Push.Provider = []Provider{{Name: "fcm", Type: "fcm", Options: map[string]any{"Timeout": "3s"}}}
	require.Contains(t, Changed(a, b), "Push.Provider")
}
