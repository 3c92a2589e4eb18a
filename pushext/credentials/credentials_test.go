package credentials_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/credentials"
)

func TestURL(t *testing.T) {
	const example = "https://push.example.org"
	for _, text := range []string{
		"https://push.example.org", "http://127.0.0.1:8080/v1", "https://[::1]:443/a%20b", "https://user:word@push.example.org/", "https://push.example.org/x?y=z", "HTTPS://push.example.org",
	} {
		u, err := credentials.URL("Endpoint", text, example, "https", "http")
		require.NoError(t, err, text)
		require.NotEmpty(t, u.Host)
	}
	for text, want := range map[string]string{
		"":                       `Endpoint is missing: give a URL such as https://push.example.org`,
		"push.example.org":       `Endpoint "push.example.org" is not a URL: give one such as https://push.example.org`,
		"push.example.org:443":   `Endpoint "push.example.org:443" is not a URL`,
		"localhost:8088":         `Endpoint "localhost:8088" is not a URL`,
		" https://a.example.org": `Endpoint " https://a.example.org" has blanks`,
		"https://a\tb":           `has blanks`,
		"https://ä.example.org":  `has blanks or other characters that a URL cannot have`,
		"ftp://a.example.org":    `Endpoint "ftp://a.example.org" does not begin with https:// or http://`,
		"https:///v1":            `has no host`,
		"https://:8088":          `has no host`,
		"https:push":             `is not a URL`,
		"https://a:0":            `has a port that is not 1 to 65535`,
		"https://a:":             `has a port that is not 1 to 65535`,
		"https://a:70000":        `has a port that is not 1 to 65535`,
		"https://a:port":         `is not a URL`,
		"https://a/#":            `has a fragment`,
		"https://a/#b":           `has a fragment`,
		"https://u:SECRET@[::1":  `Endpoint "…@[::1" is not a URL`,
		"ftp://a/?key=SECRET":    `Endpoint "ftp://a/?…" does not begin with`,
	} {
		_, err := credentials.URL("Endpoint", text, example, "https", "http")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestBase(t *testing.T) {
	for text, want := range map[string]string{
		"https://a.example.org": "https://a.example.org", "https://a.example.org/": "https://a.example.org", "https://a.example.org/v1//": "https://a.example.org/v1",
		"https://a.example.org/a%2Fb/": "https://a.example.org/a%2Fb", "https://u:p@a.example.org": "https://u:p@a.example.org",
	} {
		u, err := credentials.Base("Endpoint", text, "", "https")
		require.NoError(t, err)
		require.Equal(t, want, u.String())
	}
	for _, text := range []string{"https://a.example.org?", "https://a.example.org/?key=SECRET"} {
		_, err := credentials.Base("Endpoint", text, "https://b", "https")
		require.ErrorContains(t, err, "has a query, to which no path can be appended: give a URL such as https://b")
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		return path
	}
	for name, content := range map[string]string{"plain": "secret\n", "marked": "\ufeffsecret\n", "windows": "\ufeffsecret\r\n", "more lines": "secret\nnotes", "no end": "secret"} {
		line, err := credentials.Line("APIKeyFile", write(name, content, 0o600), "the secret")
		require.NoError(t, err, name)
		require.Equal(t, "secret", line, name)
	}
	wide := "\xff\xfes\x00e\x00c\x00r\x00e\x00t\x00"
	for want, path := range map[string]string{
		`APIKeyFile is missing: name a file whose first line is the secret`:         "",
		`none", and there is none: name a file whose first line is the secret`:      filepath.Join(dir, "none"),
		`", which is a directory: name a file`:                                      dir,
		`wide", which is UTF-16: save it as UTF-8`:                                  write("wide", wide, 0o600),
		`empty" is empty: it has to be the secret`:                                  write("empty", "\n", 0o600),
		`only mark" is empty: it has to be the secret`:                              write("only mark", "\ufeff", 0o600),
		`large" of more than 1048576 bytes: name a file whose first line is the se`: write("large", strings.Repeat("x", credentials.MaxFile+1), 0o600),
	} {
		_, err := credentials.Line("APIKeyFile", path, "the secret")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	locked := write("locked", "secret", 0)
	if _, err := os.ReadFile(locked); err == nil {
		t.Log("this user reads files of mode 0, so what is said of them is not tested")
		return
	}
	_, err := credentials.File("KeyFile", locked, "a key")
	require.ErrorContains(t, err, `locked", and this user may not read it: give it to the node's user`)
}
