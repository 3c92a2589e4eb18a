package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page has a strict policy, names nothing of other hosts, and everything that it names is there.
func TestPage(t *testing.T) {
	get := func(path string) (*http.Response, string) {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		body, err := io.ReadAll(w.Result().Body)
		require.NoError(t, err)
		return w.Result(), string(body)
	}
	page, text := get("/")
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Equal(t, Policy, page.Header.Get("Content-Security-Policy"))
	require.NotContains(t, Policy, "unsafe")
	for _, directive := range strings.Split(Policy, "; ") {
		name, sources, _ := strings.Cut(directive, " ")
		switch name {
		case "default-src", "base-uri", "form-action", "frame-ancestors":
			require.Equal(t, "'none'", sources, name)
		case "connect-src":
			require.Equal(t, "'self' https: wss:", sources, "a person's mailserver may be any, over TLS alone")
		default:
			require.Equal(t, "'self'", sources, name)
		}
	}
	require.Contains(t, text, strings.TrimSuffix(Policy, "; frame-ancestors 'none'"), "a static host has the same policy")
	require.NotContains(t, text, "style=")
	require.NotRegexp(t, `(?i)\son\w+=`, text)
	require.NotRegexp(t, `(?i)(src|href)="https?:`, text)
	named := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(text, -1)
	require.GreaterOrEqual(t, len(named), 4)
	for _, m := range named {
		file, _ := get(m[1])
		require.Equal(t, http.StatusOK, file.StatusCode, m[1])
	}
	for path, kind := range map[string]string{"/sw.js": "javascript", "/mine.js": "javascript", "/app.js": "javascript", "/manifest.webmanifest": "manifest", "/icon.svg": "svg"} {
		file, _ := get(path)
		require.True(t, strings.Contains(file.Header.Get("Content-Type"), kind), "%s is %s", path, file.Header.Get("Content-Type"))
	}
	missing, _ := get("/elsewhere")
	require.Equal(t, http.StatusNotFound, missing.StatusCode)

	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}
