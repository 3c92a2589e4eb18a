package pushext

// Remedy is what an operator can do about a verdict, as the end of a sentence.
func (v Verdict) Remedy() string {
	switch v.Class {
	case Delivered, Absent:
		return ""
	case ProviderBroken:
		return "check that key, project or app belong together and were not revoked, and that the service is enabled"
	case RetryAt:
		return "the quota is used up, so wait, and ask for more if this is usual"
	case TokenDead:
		return "open the app on the device and give its new address"
	case MessageBad:
		return "compare the provider's settings with docs/providers.md"
	}
	return "check Endpoint, name resolution, firewall and proxy, and whether the service is down"
}
