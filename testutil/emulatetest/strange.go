package emulatetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// shapes has one value of each JSON type, and some nested ones.
var shapes = []any{nil, true, 7, "text", []any{}, []any{1, "a"}, map[string]any{}, map[string]any{"errorCode": 1, "reason": []any{}}}

// Strange returns rows with the same verdict as one whose body is JSON: with unknown
// members and elements of every type, and with each member that does not decide
// replaced by every other type. decisive are the paths of the members that do, such
// as "error.details.1.errorCode". Push services extend their answers without notice.
func Strange(row Row, decisive ...string) []Row {
	with := func(v any) Row {
		body, err := json.Marshal(v)
		if err != nil {
			panic("emulatetest: " + err.Error()) // it was JSON
		}
		row := row
		row.Says.Body = body
		return row
	}
	read := func() (v any) {
		if err := json.Unmarshal(row.Says.Body, &v); err != nil {
			panic("emulatetest: the body is not JSON: " + err.Error())
		}
		return v
	}
	rows := []Row{with(grown(read()))}
	for _, path := range leaves(read(), "") {
		if slices.Contains(decisive, path) {
			continue
		}
		for _, shape := range shapes {
			rows = append(rows, with(retyped(read(), "", path, shape)))
		}
	}
	return rows
}

// grown adds to every object and list in v.
func grown(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = grown(value)
		}
		for i, shape := range shapes {
			v[fmt.Sprintf("unknown%d", i)] = shape
		}
		return v
	case []any:
		for i, value := range v {
			v[i] = grown(value)
		}
		return slices.Concat(shapes, v, shapes)
	}
	return v
}

// leaves are the paths of all values that are neither objects nor lists.
func leaves(v any, at string) (paths []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			paths = append(paths, leaves(value, join(at, key))...)
		}
	case []any:
		for i, value := range v {
			paths = append(paths, leaves(value, join(at, strconv.Itoa(i)))...)
		}
	default:
		return []string{at}
	}
	return paths
}

// retyped puts shape at path.
func retyped(v any, at, path string, shape any) any {
	if at == path {
		return shape
	}
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = retyped(value, join(at, key), path, shape)
		}
	case []any:
		for i, value := range v {
			v[i] = retyped(value, join(at, strconv.Itoa(i)), path, shape)
		}
	}
	return v
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
