package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each flag has the first sentence of its setting, on one line, and names its value.
func TestFlags(t *testing.T) {
	all, err := Flags()
	require.NoError(t, err)
	require.Greater(t, len(all), 40)
	c := Defaults()
	seen := map[string]bool{}
	for _, f := range all {
		require.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
		require.True(t, c.Field(f.Key).CanSet(), f.Key)
		require.Len(t, strings.Fields(f.Usage), len(strings.Split(f.Usage, " ")), f.Usage)
		require.Less(t, len(f.Usage), 200, f.Name)
		require.False(t, strings.HasSuffix(f.Usage, "."), f.Usage)
		if f.Value != "" {
			require.Contains(t, f.Usage, "`"+f.Value+"`", f.Name)
		}
		t.Log("--"+f.Name, f.Usage)
	}
	for text, want := range map[string]string{
		"Port to listen on. 0: any free port.": "`PORT` to listen on", "PEM file of\nthe key.": "PEM file of the key, as `PORT`",
		"How long, such as 3.5 s.": "how long, such as 3.5 s, as `PORT`",
	} {
		require.Equal(t, want, usage(sentence.FindString(text), "PORT"), text)
	}
}
