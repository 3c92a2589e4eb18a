package webpush

import (
	"fmt"
	"net/mail"
	"strings"

	"whisperpush/pushext/credentials"
	"whisperpush/pushext/dialguard"
)

// checkContact judges the operator's contact, the claim "sub" of every VAPID token
// (RFC 8292 section 2.1). It is stricter than the RFC: Apple's push service answers
// 403 to every push when the contact leads to localhost or is not an address alone,
// and any service may.
func checkContact(contact string) error {
	wrong := func(why string) error {
		return fmt.Errorf("%s %q %s: push services find the operator by it, and Apple's refuses every push without a good one; give a URL such as mailto:operator@example.org", "Contact", contact, why)
	}
	address, isMail := strings.CutPrefix(contact, "mailto:")
	if !isMail {
		u, err := credentials.URL("Contact", contact, "", "https")
		if err != nil {
			return wrong("is not a mailto: or https: URL")
		}
		if dialguard.CheckHost(u.Hostname()) != nil {
			return wrong("does not lead to the public internet")
		}
		return nil
	}
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || strings.ContainsAny(address, "?\"%") {
		return wrong("is not mailto: and a mail address alone")
	}
	if dialguard.CheckHost(address[strings.LastIndexByte(address, '@')+1:]) != nil {
		return wrong("is not at a domain of the public internet")
	}
	return nil
}
