package emulate

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxDelay bounds Answer.Delay in scripts from other processes.
const maxDelay = time.Hour

// vocabulary is what a service can say.
type vocabulary struct {
	codes []string // for Answer.Code
	text  bool     // an error has a text, which is Answer.Message
	line  bool     // a text alone is an error
	since bool     // an error may have a time, which is Answer.Timestamp
}

// Check reports the part of an answer that this service cannot give, by the field's
// name in JSON.
func (s *Service) Check(a Answer) error {
	words := s.words
	switch {
	case a.Status != 0 && (a.Status < 200 || a.Status > 599):
		return fmt.Errorf("status is %d; an HTTP status is from 200 to 599", a.Status)
	case a.Code != "" && len(words.codes) == 0:
		return fmt.Errorf("code is %q, and this service has no codes; give an HTTP status as status", a.Code)
	case a.Code != "" && !slices.Contains(words.codes, a.Code):
		return fmt.Errorf("code is %q, which is none of %s; an HTTP status is given as status", a.Code, strings.Join(words.codes, ", "))
	case a.Message != "" && !words.text:
		return fmt.Errorf("message is set, and this service has no words for an error")
	case a.Message != "" && !words.line && a.Status == 0 && a.Code == "":
		return fmt.Errorf("message is set without status or code")
	case !a.Timestamp.IsZero() && !words.since:
		return fmt.Errorf("timestamp is set, and this service says no time")
	case strings.ContainsFunc(a.RetryAfter, control):
		return fmt.Errorf("retry_after has control characters")
	case a.Delay < 0 || a.Delay > maxDelay:
		return fmt.Errorf("delay is %d ns; it is from 0 to %d", a.Delay, maxDelay)
	case a.Hang && a.Reset:
		return fmt.Errorf("hang and reset are both set; a request can end in one way")
	}
	for name, values := range a.Header {
		if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) }) {
			return fmt.Errorf("header has the name %q, which HTTP cannot send", name)
		}
		if slices.ContainsFunc(values, func(v string) bool { return strings.ContainsFunc(v, control) }) {
			return fmt.Errorf("header %s has control characters", name)
		}
	}
	return nil
}

func control(c rune) bool { return c < ' ' || c == 0x7f }

// sayable returns status, or 500 for one that HTTP cannot transmit: a script of this
// process may contain anything.
func sayable(status int) int {
	if status < 100 || status > 999 {
		return http.StatusInternalServerError
	}
	return status
}
