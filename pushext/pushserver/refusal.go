package pushserver

import (
	"fmt"

	"whisperpush/pushext/pushwire"
)

// refusal is an answer to a request that is not OK.
type refusal struct {
	code pushwire.Code
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code pushwire.Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}
