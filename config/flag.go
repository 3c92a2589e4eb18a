package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// Flag is a setting as it is given on the command line. Its field's comment in config.go names it, in a line of its own:
//
//	//flag:http.port PORT
//
// and the help is the comment's first sentence. Where one field has two flags, what follows the value says what each is.
type Flag struct {
	Name  string // without dashes
	Value string // what people write there, such as PORT; empty: nothing, it is a switch
	Key   string // of the setting, such as "RPC.HTTP.Port"
	Usage string // a sentence without its end, that has Value in backquotes
}

// directive is a line of a comment that names a flag.
var directive = regexp.MustCompile(`^//flag:(\S+)(?: (\S+))?(?: (.+))?$`)

// sentence is the first of a comment. A dot inside a word or an abbreviation ends none.
var sentence = regexp.MustCompile(`(?s)^(.*?)\.(?:\s|$)`)

// Flags are the flags of all settings, in the order of the settings.
func Flags() ([]Flag, error) {
	return parsedFlags()
}

// parsedFlags are parsed once.
var parsedFlags = sync.OnceValues(func() ([]Flag, error) {
	docs, err := fieldDocs()
	if err != nil {
		return nil, err
	}
	var all []Flag
	var walk func(path string, t reflect.Type) error
	walk = func(path string, t reflect.Type) error {
		for i := range t.NumField() {
			field := t.Field(i)
			key := strings.TrimPrefix(path+"."+field.Name, ".")
			if field.Type.Kind() == reflect.Struct {
				if err := walk(key, field.Type); err != nil {
					return err
				}
				continue
			}
			doc := docs[t.Name()+"."+field.Name]
			for _, line := range doc.directives {
				m := directive.FindStringSubmatch(line)
				if m == nil {
					return fmt.Errorf("%s: %q is no directive of a flag", key, line)
				}
				text := m[3]
				if text == "" {
					text = sentence.FindString(doc.text)
				}
				all = append(all, Flag{Name: m[1], Value: m[2], Key: key, Usage: usage(text, m[2])})
			}
		}
		return nil
	}
	return all, walk("", reflect.TypeFor[Config]())
})

// usage is a sentence as a flag's help: on one line, without capital and end, with the value in backquotes.
func usage(text, value string) string {
	text = strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
	if first := []rune(text); len(first) > 1 && unicode.IsUpper(first[0]) && !unicode.IsUpper(first[1]) && !properName(text) {
		text = string(unicode.ToLower(first[0])) + string(first[1:])
	}
	if value == "" {
		return text
	}
	word := regexp.MustCompile(`(?i)(^|[^\w-])(` + regexp.QuoteMeta(value) + `)($|[^\w-])`)
	if at := word.FindStringSubmatchIndex(text); at != nil {
		return text[:at[4]] + "`" + value + "`" + text[at[5]:]
	}
	return text + ", as `" + value + "`"
}

// properName reports whether a text begins with a name that keeps its capital.
func properName(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	return strings.IndexFunc(word[1:], unicode.IsUpper) >= 0 || word == "Whisper" || word == "Prometheus"
}

// Field is the field of a setting, of c itself, by its key such as "RPC.HTTP.Port". It panics if there is none.
func (c *Config) Field(key string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for _, name := range strings.Split(key, ".") {
		v = v.FieldByName(name)
	}
	return v
}
