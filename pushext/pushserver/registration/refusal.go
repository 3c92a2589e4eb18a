package registration

import (
	"fmt"

	"whisperpush/pushext/pushwire"
)

// Refusal is an answer to a request that is not OK.
type Refusal struct {
	Code pushwire.Code
	Text string
}

// Error is the text.
func (r *Refusal) Error() string { return r.Text }

// Refuse is a *Refusal with a code and a text.
func Refuse(code pushwire.Code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}
