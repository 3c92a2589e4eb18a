package registration

import (
	"fmt"

	"whisperpush/pushext/pushwire"
)

// Refusal answers a request with a code other than OK.
type Refusal struct {
	Code pushwire.Code
	Text string
}

// Error is the text.
func (r *Refusal) Error() string { return r.Text }

// Refuse returns a *Refusal with a code and a text.
func Refuse(code pushwire.Code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}
