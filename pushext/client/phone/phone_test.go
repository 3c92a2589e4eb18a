package phone_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/phone"
	"whisperpush/testutil/pushnode"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) { pushnode.Main(m) }

// tray is a platform's notifications.
type tray struct {
	mu    sync.Mutex
	now   map[string]map[string]any
	badge int
	fails bool
}

func newTray() *tray { return &tray{now: make(map[string]map[string]any), badge: -1} }

func (s *tray) Show(notification string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return errors.New("the platform is busy")
	}
	var n map[string]any
	if err := json.Unmarshal([]byte(notification), &n); err != nil {
		return err
	}
	s.now[n["id"].(string)] = n
	return nil
}

func (s *tray) Remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now, id)
	return nil
}

func (s *tray) SetBadge(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.badge = n
	return nil
}

func (s *tray) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, n := range s.now {
		all = append(all, n["text"].(string))
	}
	return all
}

func family() client.Chat {
	return client.PasswordChat("family", whisper.TopicFor("family"), "kitchen")
}

func settings(dir, server, key string) string {
	return fmt.Sprintf(`{"directory":%q,"server":%q,"pushKey":%q,"chats":[{"name":"family","password":"kitchen"}]}`, dir, server, key)
}

// app is what an app does with the library.
type app struct {
	*phone.App
	*tray
	t *testing.T
}

func open(t *testing.T, dir, server, key string) *app {
	t.Helper()
	a := &app{tray: newTray(), t: t}
	var err error
	a.App, err = phone.Open(settings(dir, server, key), a.tray)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// do makes a call, and reads its answer.
func (a *app) do(name, arguments string, answer any) {
	a.t.Helper()
	text, err := a.Call(name, arguments)
	require.NoError(a.t, err, name)
	if answer != nil {
		require.NoError(a.t, json.Unmarshal([]byte(text), answer), text)
	}
}

// TestApp is the life of an app: registered, woken, read, answered, over either way to the server.
func TestApp(t *testing.T) {
	n := pushnode.Start(t, nil)
	for way, server := range map[string]string{"devp2p": n.Enode(), "https": n.Door()} {
		t.Run(way, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "app")
			a := open(t, dir, server, n.Key())
			token := n.FCM.NewToken()
			push := func() string {
				t.Helper()
				data, err := json.Marshal(n.Push(t, token))
				require.NoError(t, err)
				answer, err := a.Receive("fcm", data)
				require.NoError(t, err)
				return answer
			}
			a.do("register", fmt.Sprintf(`{"routes":[{"provider":"fcm","address":%q}]}`, token), nil)
			require.Contains(t, push(), `{"ours":true,"shown":[],"removed":[]`, "the challenge")
			var me struct {
				Key    string
				Active bool
				Unread int
			}
			a.do("me", "", &me)
			require.True(t, me.Active)

			n.Write(t, family(), "supper is ready")
			var woken struct {
				Ours  bool
				Shown []struct{ ID, Title, Text, Link, Chat, Manner string }
				Badge int
			}
			require.NoError(t, json.Unmarshal([]byte(push()), &woken))
			require.True(t, woken.Ours)
			require.Len(t, woken.Shown, 1)
			shown := woken.Shown[0]
			require.Equal(t, "supper is ready", shown.Text)
			require.Equal(t, "family", shown.Title)
			require.Equal(t, "headsup", shown.Manner)
			require.Equal(t, 1, woken.Badge)
			require.Equal(t, []string{"supper is ready"}, a.texts())

			var target struct {
				Chat    string
				Message struct{ ID string }
			}
			a.do("follow", fmt.Sprintf(`{"link":%q}`, shown.Link), &target)
			require.Equal(t, shown.Chat, target.Chat)
			require.Equal(t, shown.ID, target.Message.ID)

			var chats []struct {
				ID, Name         string
				Messages, Unread int
			}
			a.do("chats", "{}", &chats)
			require.Len(t, chats, 1)
			require.Equal(t, 1, chats[0].Unread)
			a.do("chatOpened", fmt.Sprintf(`{"chat":%q}`, chats[0].ID), nil)
			a.do("foreground", "", nil)
			require.Empty(t, a.texts(), "read")
			require.Zero(t, a.badge)
			a.do("send", fmt.Sprintf(`{"chat":%q,"text":"coming"}`, chats[0].ID), nil)
			a.do("flush", "", nil)
			var messages []struct {
				Text string
				Own  bool
				Read bool
			}
			a.do("messages", fmt.Sprintf(`{"chat":%q}`, chats[0].ID), &messages)
			require.Len(t, messages, 2)
			require.True(t, messages[0].Read)
			require.True(t, messages[1].Own)
			a.do("background", "", nil)
			a.do("chatClosed", "", nil)

			// Read from the notification while the app does not run.
			n.Write(t, family(), "and bring bread")
			require.NoError(t, json.Unmarshal([]byte(push()), &woken))
			action := fmt.Sprintf(`{"id":"tap-1","action":"read","message":%q}`, woken.Shown[0].ID)
			require.NoError(t, phone.Act(dir, action))
			require.NoError(t, phone.Act(dir, action), "once")
			a.do("refresh", "", nil)
			require.Empty(t, a.texts())

			var status struct {
				Active bool
				Lines  []string
			}
			a.do("status", "", &status)
			require.True(t, status.Active)
			require.NotEmpty(t, status.Lines)
			a.do("sleep", "", nil)
			a.do("unregister", "", nil)
		})
	}
}

const (
	promised = 15 * time.Second
	tick     = 10 * time.Millisecond
)

// TestListen has an app in the foreground rung over its own connection.
func TestListen(t *testing.T) {
	n := pushnode.Start(t, nil)
	a := open(t, t.TempDir(), n.Door(), n.Key())
	a.do("register", `{"routes":[{"provider":"direct","direct":true}]}`, nil)
	a.do("listen", "", nil)
	n.Write(t, family(), "are you there?")
	require.Eventually(t, func() bool { return len(a.texts()) == 1 }, promised, tick)
	a.do("listen", `{"stop":true}`, nil)
}

// Whatever an app gives, it is told what is wrong with it, and no secret is repeated.
func TestWrongInput(t *testing.T) {
	n := pushnode.Start(t, nil)
	good := settings(t.TempDir(), n.Door(), n.Key())
	for given, says := range map[string]string{
		"":                        `"directory" is missing`,
		"{":                       "settings: ",
		"[]":                      "settings: ",
		`{"directory":"x","a":1}`: `unknown field "a"`,
		`{"directory":1}`:         `"directory" must be a string`,
		good + "{}":               "something follows",
		strings.Replace(good, `"kitchen"`, `""`, 1):                             "give one of password, key and identity",
		strings.Replace(good, `"password":"kitchen"`, `"key":"secretkey"`, 1):   "not 32 bytes in hexadecimal",
		strings.Replace(good, `"password":"kitchen"`, `"identity":"secret"`, 1): "this is no private key",
		strings.Replace(good, "http://127.0.0.1", "http://192.0.2.1", 1):        "has to be https",
		`{"directory":"` + strings.Repeat("x", 1<<20) + `"}`:                    "at most",
	} {
		_, err := phone.Open(given, newTray())
		require.ErrorContains(t, err, says, "%.80s", given)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := phone.Open(good, nil)
	require.ErrorContains(t, err, "the screen is missing")

	a := open(t, t.TempDir(), n.Door(), n.Key())
	for _, c := range [][3]string{
		{"nothing", "", "there are action background block"},
		{"messages", `{"chat":"0x00000000.0000000000000000"}`, "there is no chat"},
		{"message", `{"id":"12"}`, "is no id of a message"},
		{"message", `{"id":"0x` + strings.Repeat("0", 64) + `"}`, "no such message"},
		{"read", `{}`, "give ids of messages, or a chat"},
		{"read", `{"ids":["0x12"]}`, "is no id"},
		{"action", `{"id":"1","action":"shout"}`, `no action "shout"`},
		{"block", `{"sender":"0x12"}`, "sender: "},
		{"register", `{"group":"zz"}`, "group is not hexadecimal"},
		{"register", `{"routes":[{"provider":"fcm","addressHex":"zz"}]}`, "not hexadecimal"},
		{"follow", `{"link":"https://example.org"}`, "link"},
		{"send", `{"chat":1}`, `"chat" must be a string`},
	} {
		_, err := a.Call(c[0], c[1])
		require.ErrorContains(t, err, c[2], c[0]+" "+c[1])
	}
	answer, err := a.Receive("fcm", []byte(`{"from":"another sender"}`))
	require.NoError(t, err)
	require.Contains(t, answer, `"ours":false`)
	_, err = a.Receive("pigeon", []byte(`{}`))
	require.ErrorContains(t, err, `there is no platform "pigeon"`)
}

// What the platform did not take is shown at the next occasion.
func TestPlatformIsBusy(t *testing.T) {
	n := pushnode.Start(t, nil)
	a := open(t, t.TempDir(), n.Door(), n.Key())
	n.Write(t, family(), "hello")
	a.fails = true
	_, _ = a.Call("history", "")
	require.Empty(t, a.texts())
	a.fails = false
	a.do("refresh", "", nil)
	require.Equal(t, []string{"hello"}, a.texts())
}
