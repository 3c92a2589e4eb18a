// Package app is a small messenger for browsers, which the node serves beside its door if it is
// asked to. It is a static page: everything that it does it does in the browser, over the door, and
// whoever serves the files in dist from elsewhere at the origin of a door has the same.
//
// dist is what build.mjs makes of src and static, and is committed, so that the Go build needs no Node.
package app

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed dist
var files embed.FS

// Policy is the content-security policy of the page: no script, style or picture but its own files, and
// nobody else's frame. It may talk to other hosts over TLS, as the person's mailserver may be any: what
// they answer is data, which no directive here lets the browser run or show.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' https: wss:; worker-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page.
func Handler() http.Handler {
	dist, err := fs.Sub(files, "dist")
	if err != nil {
		panic(err) // the name is a constant
	}
	serve := http.FileServerFS(dist)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is a page to be read", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", Policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Permissions-Policy", "camera=(self), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-cache")
		if r.URL.Path == "/manifest.webmanifest" {
			h.Set("Content-Type", "application/manifest+json")
		}
		serve.ServeHTTP(w, r)
	})
}
