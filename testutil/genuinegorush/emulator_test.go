package genuinegorush_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"whisperpush/pushext/emulate"
	"whisperpush/testutil/genuinegorush"
)

func TestBuildTwice(t *testing.T) {
	first, err := genuinegorush.Build(t.Context())
	require.NoError(t, err)
	second, err := genuinegorush.Build(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, second)
}

// TestEmulatorIsLikeIt sends the same requests to the genuine gorush and to the emulated
// one, in every mode: the answers are the same, byte for byte but for the order of members.
func TestEmulatorIsLikeIt(t *testing.T) {
	fcm, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(fcm.Close)
	apns, err := emulate.StartAPNS(emulate.APNSConfig{})
	require.NoError(t, err)
	t.Cleanup(apns.Close)
	const android, ios = 2, 1
	for _, platform := range []int{android, ios} {
		for _, mode := range []genuinegorush.Options{{Sync: true}, {}, {Sync: true, Queue: "redis"}} {
			t.Run(fmt.Sprintf("platform=%d/sync=%v/queue=%s", platform, mode.Sync, mode.Queue), func(t *testing.T) {
				service := fcm.Service
				if mode.FCM = fcm; platform == ios {
					mode.FCM, mode.APNS, service = nil, apns, apns.Service
				}
				genuine := genuinegorush.Run(t, mode)
				emulated, err := emulate.StartGorush(emulate.GorushConfig{Platform: platform, Async: !mode.Sync, Queue: mode.Queue})
				require.NoError(t, err)
				t.Cleanup(emulated.Close)

				alive, dead := service.NewToken(), service.NewToken()
				service.Unregister(dead)
				require.True(t, emulated.Register(alive))
				require.True(t, emulated.Register(dead))
				emulated.Unregister(dead)

				compareConfig(t, genuine.URL, emulated.URL())
				for name, n := range map[string]map[string]any{
					"alive":          {"platform": platform, "tokens": []string{alive}},
					"dead":           {"platform": platform, "tokens": []string{dead}},
					"alive, topic":   {"platform": platform, "tokens": []string{alive}, "topic": apns.Topic()},
					"dead, topic":    {"platform": platform, "tokens": []string{dead}, "topic": apns.Topic()},
					"other platform": {"platform": android + ios - platform, "tokens": []string{alive}},
				} {
					if _, topic := n["topic"]; topic && platform == android {
						continue // a message to a topic of FCM, which this project sends none of
					}
					if platform == ios {
						n["push_type"] = "alert"
						if _, topic := n["topic"]; !topic && name != "other platform" {
							continue // the emulated APNs has one app, which it cannot know without
						}
					}
					n["notif_id"], n["message"], n["data"] = "id-1", "hello", map[string]any{"v": 2, "p": "x"}
					require.JSONEq(t, post(t, genuine.URL, n), post(t, emulated.URL(), n), name)
				}
				compareConfig(t, genuine.URL, emulated.URL())
			})
		}
	}
}

func post(t *testing.T, to string, notification map[string]any) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"notifications": []any{notification}})
	require.NoError(t, err)
	answer, err := http.Post(to+"/api/push", "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, "%s", text)
	return string(text)
}

// compareConfig compares what both say of how their answers are to be read: the emulated
// one says no more than the genuine, and the same.
func compareConfig(t *testing.T, genuine, emulated string) {
	t.Helper()
	read := func(at string) (config map[string]map[string]any) {
		answer, err := http.Get(at + "/api/config")
		require.NoError(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(text, &config))
		return config
	}
	want, got := read(genuine), read(emulated)
	for _, of := range [][2]string{{"core", "sync"}, {"queue", "engine"}, {"android", "enabled"}, {"android", "max_retry"}, {"ios", "enabled"}, {"ios", "max_retry"}} {
		require.Contains(t, want[of[0]], of[1])
		require.Equal(t, want[of[0]][of[1]], got[of[0]][of[1]], of)
	}
}
