package registration

// Lane names a lane. The host is a secret of the devices that use it.
type Lane struct {
	Provider string
	Host     string // "" if the provider has one lane only
}
