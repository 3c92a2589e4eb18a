package attempt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestObject(t *testing.T) {
	object, ok := Answer{Body: []byte(` {"a":{"b":"c"},"n":12,"t":true} `)}.Object()
	require.True(t, ok)
	require.Equal(t, "c", Text(object, "a.b"))
	require.EqualValues(t, 12, Number(object, "n"))
	for _, path := range []string{"a", "n", "t", "none", "a.b.c"} {
		require.Empty(t, Text(object, path))
	}
	for _, path := range []string{"a", "a.b", "t", "none"} {
		require.Zero(t, Number(object, path))
	}
	for _, body := range []string{"", "null", "[]", `"a"`, "12", `{"a":`, `{"a":1}x`, "<html>"} {
		object, ok := Answer{Body: []byte(body)}.Object()
		require.False(t, ok, body)
		require.Empty(t, Text(object, "a"))
		require.Empty(t, object.Get("a").Array())
	}
}

func TestReadGrant(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"access_token":"t","token_type":"Bearer","expires_in":3600}`:                             time.Hour,
		`{"access_token":"t","token_type":"bearer","expires_in":"3600","scope":[],"id_token":{}}`:  time.Hour,
		`{"access_token":"t","token_type":"Bearer","expires_in":99999999999999,"refresh_token":1}`: maxLife,
		`{"access_token":"t","token_type":"Bearer","expires_in":-1}`:                               0,
		`{"access_token":"t","token_type":"Bearer","expires_in":{}}`:                               0,
		`{"access_token":"t","token_type":"Bearer"}`:                                               0,
	} {
		token, life, ok := readGrant(Answer{Status: 200, Body: []byte(body)})
		require.True(t, ok, body)
		require.Equal(t, "t", token)
		require.Equal(t, want, life, body)
	}
	for _, body := range []string{
		`{"access_token":"","token_type":"Bearer"}`, `{"access_token":1,"token_type":"Bearer"}`, `{"access_token":"a\nb","token_type":"Bearer"}`,
		`{"access_token":"t","token_type":"mac"}`, `{"access_token":"t","token_type":["Bearer"]}`, `{"access_token":"t"}`, `<html>`, ``,
	} {
		_, _, ok := readGrant(Answer{Status: 200, Body: []byte(body)})
		require.False(t, ok, body)
	}
	_, _, ok := readGrant(Answer{Status: 201, Body: []byte(`{"access_token":"t","token_type":"Bearer"}`)})
	require.False(t, ok)
}
