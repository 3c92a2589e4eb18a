package vectors

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
)

var update = flag.Bool("update", false, "write testdata/go anew")

// writers are the languages that wrote a file, which name its directory in testdata.
var writers = []string{"go", "typescript"}

func path(writer, file string) string { return filepath.Join("testdata", writer, file) }

// read reads a file of vectors.
func read[T any](t *testing.T, writer, file string) (v T) {
	t.Helper()
	text, err := os.ReadFile(path(writer, file))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

// write writes a file of vectors of the Go code.
func write(t *testing.T, file string, v any) {
	t.Helper()
	text := new(bytes.Buffer)
	encoder := json.NewEncoder(text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	require.NoError(t, encoder.Encode(v))
	require.NoError(t, os.MkdirAll(path("go", ""), 0o755))
	require.NoError(t, os.WriteFile(path("go", file), text.Bytes(), 0o644))
}

// plain turns a value into what the vectors hold, as plain of
// web/client/test/support.ts does.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			return hexutil.Encode(b)
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Struct:
		fields := make(map[string]any)
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			if field.Anonymous {
				for name, value := range plain(v.Field(i)).(map[string]any) {
					fields[name] = value
				}
				continue
			}
			if strings.Contains(field.Tag.Get("json"), "omitzero") && v.Field(i).IsZero() {
				continue // as TypeScript, which leaves it out
			}
			if value := plain(v.Field(i)); value != nil {
				fields[lower(field.Name)] = value
			}
		}
		return fields
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	}
	if form, ok := v.Interface().(mailwire.Form); ok {
		return form.String()
	}
	return v.Interface()
}

// lower is the name of a field in TypeScript.
func lower(name string) string {
	switch {
	case name == "PoW", strings.ToUpper(name) == name:
		return strings.ToLower(name)
	}
	return string(unicode.ToLower(rune(name[0]))) + name[1:]
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func repeated(b byte, size int) []byte { return bytes.Repeat([]byte{b}, size) }

// ofBoth runs a check of what Go wrote and of what TypeScript wrote.
func ofBoth(t *testing.T, check func(t *testing.T, writer string)) {
	for _, writer := range writers {
		t.Run(fmt.Sprintf("of %s", writer), func(t *testing.T) { check(t, writer) })
	}
}
