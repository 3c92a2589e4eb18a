package fcm

import (
	"strings"
	"testing"
	"time"

	"whisperpush/pushext"
)

// BenchmarkMessage is the share of a push that is not the HTTP request.
func BenchmarkMessage(b *testing.B) {
	n := pushext.Notification{Address: pushext.Address{Token: strings.Repeat("t", 163)}, Body: []byte(`{"v":2,"p":"` + strings.Repeat("A", 1400) + `"}`), CollapseID: "abcdefghijklmnop", TTL: time.Hour, Urgent: true}
	var f frames
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.message(n); err != nil {
			b.Fatal(err)
		}
	}
}
