// Package app is a small messenger for browsers, which the node serves beside its door if the settings
// say so. It is a static page: it does everything in the browser, over the door. Whoever serves the
// files in dist elsewhere, at the origin of a door, has the same messenger.
//
// build.mjs makes dist from src and static. dist is committed, so that the Go build needs no Node.
package app

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed dist
var files embed.FS

// Policy is the content-security policy of the page: only its own scripts, styles and pictures, and no
// frames. It may talk to other hosts over TLS, because the person's mailserver may be any: their
// answers are data, which no directive here lets the browser run or show.
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
