package pushserver

import (
	"time"
)

var (
	// retryBackoff spaces the attempts of one wake-up (FCM and APNs advise 1, 2, 4 … s).
	retryBackoff = backoff{base: time.Second, cap: time.Minute}
	// breakerBackoff spaces the probes of a broken lane.
	breakerBackoff = backoff{base: time.Second, cap: time.Minute}
	// deadBackoff spaces the attempts at an address that its provider calls
	// dead while the mass-deletion gate does not believe it.
	deadBackoff = backoff{base: 30 * time.Second, cap: time.Hour}
)
