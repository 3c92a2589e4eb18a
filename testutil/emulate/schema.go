package emulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// decode reads a request's JSON with its numbers as they are written. As gjson
// only looks at what is asked for, a push costs the emulator a fraction of what
// encoding/json takes; a benchmark is to measure the sender.
func decode(raw []byte) (any, error) {
	if !utf8.Valid(raw) || !gjson.ValidBytes(raw) {
		return nil, errors.New("it is not JSON")
	}
	return decoded(gjson.ParseBytes(raw)), nil
}

func decoded(r gjson.Result) any {
	switch {
	case r.IsObject():
		m := make(map[string]any)
		r.ForEach(func(key, value gjson.Result) bool {
			m[key.String()] = decoded(value)
			return true
		})
		return m
	case r.IsArray():
		l := []any{}
		r.ForEach(func(_, value gjson.Result) bool {
			l = append(l, decoded(value))
			return true
		})
		return l
	case r.Type == gjson.Number:
		return json.Number(r.Raw)
	}
	return r.Value()
}

// check judges one JSON value; path names it in the error.
type check func(path string, v any) error

// object accepts an object whose members are all known, under their proto name
// (collapse_key) or their JSON name (collapseKey), as Google's APIs do.
func object(members map[string]check) check {
	return func(path string, v any) error {
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("Invalid value at '%s', an object is expected", path)
		}
		for name, value := range m {
			member, ok := members[snake(name)]
			if !ok {
				return fmt.Errorf("Invalid JSON payload received. Unknown name %q at '%s': Cannot find field.", name, path)
			}
			if value == nil {
				continue // proto JSON: null is absent
			}
			if err := member(strings.TrimPrefix(path+"."+snake(name), "."), value); err != nil {
				return err
			}
		}
		return nil
	}
}

func snake(name string) string {
	if strings.ToLower(name) == name {
		return name
	}
	var b strings.Builder
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

func str(path string, v any) error {
	if _, ok := v.(string); !ok {
		return fmt.Errorf("Invalid value at '%s' (TYPE_STRING)", path)
	}
	return nil
}

func strMap(path string, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("Invalid value at '%s', an object of strings is expected", path)
	}
	for k, value := range m {
		if err := str(path+"["+k+"].value", value); err != nil {
			return err
		}
	}
	return nil
}

func boolean(path string, v any) error {
	if _, ok := v.(bool); !ok {
		return fmt.Errorf("Invalid value at '%s' (TYPE_BOOL)", path)
	}
	return nil
}

func integer(path string, v any) error {
	if n, ok := v.(json.Number); ok {
		if _, err := n.Int64(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("Invalid value at '%s' (TYPE_INT32)", path)
}

// anything accepts any object: google.protobuf.Struct.
func anything(path string, v any) error {
	if _, ok := v.(map[string]any); !ok {
		return fmt.Errorf("Invalid value at '%s', an object is expected", path)
	}
	return nil
}

func list(item check) check {
	return func(path string, v any) error {
		l, ok := v.([]any)
		if !ok {
			return fmt.Errorf("Invalid value at '%s', a list is expected", path)
		}
		for i, value := range l {
			if err := item(fmt.Sprintf("%s[%d]", path, i), value); err != nil {
				return err
			}
		}
		return nil
	}
}

func enum(values ...string) check {
	return func(path string, v any) error {
		if s, ok := v.(string); ok && slices.Contains(values, s) {
			return nil
		}
		return fmt.Errorf("Invalid value at '%s' (TYPE_ENUM)", path)
	}
}

var durationForm = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,9})?s$`)

// duration reads proto JSON's form of google.protobuf.Duration: "3.5s".
func duration(path string, v any) error {
	s, _ := v.(string)
	if _, err := parseDuration(s); err != nil {
		return fmt.Errorf("Invalid value at '%s' (type.googleapis.com/google.protobuf.Duration)", path)
	}
	return nil
}

func parseDuration(s string) (time.Duration, error) {
	if !durationForm.MatchString(s) {
		return 0, fmt.Errorf("not a duration: %q", s)
	}
	return time.ParseDuration(s)
}
