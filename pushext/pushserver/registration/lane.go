package registration

// Lane names a lane. The host is a secret of the devices behind it.
type Lane struct {
	Provider string
	Host     string // "" if the provider has one lane only
}
