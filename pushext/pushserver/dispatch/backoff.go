package dispatch

import (
	"time"

	"whisperpush/pushext/pushserver/spacing"
)

var (
	// retryBackoff spaces the attempts of one wake-up (FCM and APNs advise 1, 2, 4 … s).
	retryBackoff = spacing.Backoff{Base: time.Second, Cap: time.Minute}
	// breakerBackoff spaces the probes of a broken lane.
	breakerBackoff = spacing.Backoff{Base: time.Second, Cap: time.Minute}
	// deadBackoff spaces the attempts at an address that its provider calls
	// dead while the mass-deletion gate does not believe it.
	deadBackoff = spacing.Backoff{Base: 30 * time.Second, Cap: time.Hour}
)
