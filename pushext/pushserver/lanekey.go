package pushserver

// laneKey names a lane. The host is a secret of the devices behind it.
type laneKey struct {
	provider string
	host     string // "" if the provider has one lane only
}
