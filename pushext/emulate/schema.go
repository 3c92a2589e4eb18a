package emulate

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// value is a JSON value of a request. gjson makes substrings instead of copies,
// so that a push costs the emulator a fraction of what encoding/json takes: a
// benchmark should measure the sender.
type value struct {
	gjson.Result
	members []member // of an object, in order
	items   []value  // of a list
}

// member is a member of an object.
type member struct {
	name string
	value
}

// decode reads a request's JSON.
func decode(raw []byte) (value, error) {
	if !utf8.Valid(raw) || !gjson.ValidBytes(raw) {
		return value{}, errors.New("it is not JSON")
	}
	return decoded(gjson.ParseBytes(raw)), nil
}

func decoded(r gjson.Result) value {
	v := value{Result: r}
	switch {
	case r.IsObject():
		v.members = make([]member, 0, 4)
		r.ForEach(func(name, of gjson.Result) bool {
			v.members = append(v.members, member{name.String(), decoded(of)})
			return true
		})
	case r.IsArray():
		r.ForEach(func(_, of gjson.Result) bool {
			v.items = append(v.items, decoded(of))
			return true
		})
	}
	return v
}

// find returns an object's member by its proto name or its JSON name. If there
// is none, it returns null, which proto JSON treats as absent. Of several
// members the last counts.
func (v value) find(name string) value {
	for _, m := range slices.Backward(v.members) {
		if m.name == name || snake(m.name) == name {
			return m.value
		}
	}
	return value{}
}

// absent reports whether there is no value.
func (v value) absent() bool { return v.Type == gjson.Null }

// word returns a member that is a string, or "".
func (v value) word(name string) string {
	if m := v.find(name); m.Type == gjson.String {
		return m.Str
	}
	return ""
}

// whole returns the value if it is a whole number.
func (v value) whole() (n int64, ok bool) {
	if v.Type != gjson.Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	return n, err == nil
}

// fault is what is wrong with a value. form is a format for Sprintf, whose
// argument is the place.
type fault struct{ place, form string }

func (f *fault) Error() string { return fmt.Sprintf(f.form, strings.TrimPrefix(f.place, ".")) }

// in says in which member, as ".name", or element of a value the fault is.
func (f *fault) in(name string) *fault {
	f.place = name + f.place
	return f
}

// judge turns what a check found into an error.
func judge(of check, v value) error {
	if f := of(v); f != nil {
		return f
	}
	return nil
}

// check judges a JSON value; nil means valid.
type check func(value) *fault

// object accepts an object whose members are all known, by their proto name
// (collapse_key) or their JSON name (collapseKey), as Google's APIs do.
func object(members map[string]check) check {
	return func(v value) *fault {
		if !v.IsObject() {
			return &fault{form: "Invalid value at '%s', an object is expected"}
		}
		for _, m := range v.members {
			name := snake(m.name)
			known, ok := members[name]
			if !ok {
				return &fault{form: "Invalid JSON payload received. Unknown name " + strings.ReplaceAll(strconv.Quote(m.name), "%", "%%") + " at '%s': Cannot find field."}
			}
			if m.absent() {
				continue
			}
			if f := known(m.value); f != nil {
				return f.in("." + name)
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

func str(v value) *fault {
	if v.Type != gjson.String {
		return &fault{form: "Invalid value at '%s' (TYPE_STRING)"}
	}
	return nil
}

func strMap(v value) *fault {
	if !v.IsObject() {
		return &fault{form: "Invalid value at '%s', an object of strings is expected"}
	}
	for _, m := range v.members {
		if f := str(m.value); f != nil {
			return f.in("[" + m.name + "].value")
		}
	}
	return nil
}

func boolean(v value) *fault {
	if !v.IsBool() {
		return &fault{form: "Invalid value at '%s' (TYPE_BOOL)"}
	}
	return nil
}

func integer(v value) *fault {
	if _, ok := v.whole(); !ok {
		return &fault{form: "Invalid value at '%s' (TYPE_INT32)"}
	}
	return nil
}

// anything accepts any object: google.protobuf.Struct.
func anything(v value) *fault {
	if !v.IsObject() {
		return &fault{form: "Invalid value at '%s', an object is expected"}
	}
	return nil
}

func list(item check) check {
	return func(v value) *fault {
		if !v.IsArray() {
			return &fault{form: "Invalid value at '%s', a list is expected"}
		}
		for i, of := range v.items {
			if f := item(of); f != nil {
				return f.in(fmt.Sprintf("[%d]", i))
			}
		}
		return nil
	}
}

func enum(values ...string) check {
	return func(v value) *fault {
		if v.Type != gjson.String || !slices.Contains(values, v.Str) {
			return &fault{form: "Invalid value at '%s' (TYPE_ENUM)"}
		}
		return nil
	}
}

var durationForm = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,9})?s$`)

// duration reads proto JSON's form of google.protobuf.Duration: "3.5s".
func duration(v value) *fault {
	if _, err := parseDuration(v.Str); err != nil {
		return &fault{form: "Invalid value at '%s' (type.googleapis.com/google.protobuf.Duration)"}
	}
	return nil
}

func parseDuration(s string) (time.Duration, error) {
	if !durationForm.MatchString(s) {
		return 0, fmt.Errorf("not a duration: %q", s)
	}
	return time.ParseDuration(s)
}
