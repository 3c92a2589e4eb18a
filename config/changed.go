package config

import "reflect"

// Changed lists the keys whose values differ between two settings, in the order of the file; of the providers the key
// of all, "Push.Provider".
func Changed(a, b Config) []string {
	var keys []string
	var walk func(prefix string, a, b reflect.Value)
	walk = func(prefix string, a, b reflect.Value) {
		for i := range a.NumField() {
			field := a.Type().Field(i)
			key, x, y := prefix+field.Name, a.Field(i), b.Field(i)
			switch {
			case field.Type.Kind() == reflect.Struct:
				walk(key+".", x, y)
			case x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0: // nil or empty is the same list
			case !reflect.DeepEqual(x.Interface(), y.Interface()):
				keys = append(keys, key)
			}
		}
	}
	walk("", reflect.ValueOf(a), reflect.ValueOf(b))
	return keys
}
