package attempt

import "github.com/tidwall/gjson"

// Object is the JSON object in an answer's body, and whether there is one. Its members
// are then read one by one: push services add members without notice, and change the type
// of those nobody needs, so a member that is unknown or of another type must not hide the
// one that decides.
func (a Answer) Object() (gjson.Result, bool) { return Object(a.Body) }

// Object is Answer.Object of a text that is part of an answer.
func Object(text []byte) (gjson.Result, bool) {
	if !gjson.ValidBytes(text) {
		return gjson.Result{}, false
	}
	object := gjson.ParseBytes(text)
	return object, object.IsObject()
}

// Text is the string at path in an object, "" if there is none.
func Text(object gjson.Result, path string) string {
	if member := object.Get(path); member.Type == gjson.String {
		return member.Str
	}
	return ""
}

// Number is the number at path in an object, 0 if there is none.
func Number(object gjson.Result, path string) int64 {
	if member := object.Get(path); member.Type == gjson.Number {
		return member.Int()
	}
	return 0
}
