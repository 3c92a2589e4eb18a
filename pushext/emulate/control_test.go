package emulate_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/emulate"
)

// TestControlRefuses: what the control interface does not know it refuses by name, and
// does nothing.
func TestControlRefuses(t *testing.T) {
	for _, kind := range emulate.Types() {
		t.Run(kind, func(t *testing.T) {
			e, err := emulate.Start(kind, "")
			require.NoError(t, err)
			t.Cleanup(e.Close)
			device, err := e.NewDevice()
			require.NoError(t, err)
			transport := &http.Transport{TLSClientConfig: e.ClientTLS()}
			t.Cleanup(transport.CloseIdleConnections)
			ask := func(method, path, body string) (int, string) {
				r, err := http.NewRequestWithContext(t.Context(), method, e.URL()+emulate.ControlPath+path, strings.NewReader(body))
				require.NoError(t, err)
				answer, err := (&http.Client{Transport: transport}).Do(r)
				require.NoError(t, err)
				defer answer.Body.Close()
				text, err := io.ReadAll(answer.Body)
				require.NoError(t, err)
				return answer.StatusCode, string(text)
			}
			token := "token=" + url.QueryEscape(device.Token)

			for body, want := range map[string]string{
				`[{"code":"503"}]`:                    `answer 1: code is "503"`,
				`[{"status":503},{"code":"NOTHING"}]`: `answer 2: code is "NOTHING"`,
				`[{"status":42}]`:                     `answer 1: status is 42; an HTTP status is from 200 to 599`,
				`[{"status":"503"}]`:                  `status`,
				`[{"cod":"503"}]`:                     `unknown field "cod"`,
				`[{"times":1,"retryafter":"5"}]`:      `unknown field "retryafter"`,
				`{"status":503}`:                      `not a JSON list of answers`,
				`[{"status":503}] [{"status":500}]`:   `something follows it`,
				`status=503`:                          `not a JSON list of answers`,
				`[{"delay":-1}]`:                      `answer 1: delay is -1 ns`,
				`[{"hang":true,"reset":true}]`:        `answer 1: hang and reset are both set`,
				`[{"retry_after":"5\r\nX-Y: z"}]`:     `answer 1: retry_after has control characters`,
				`[{"header":{"A B":["c"]}}]`:          `answer 1: header has the name "A B"`,
				`[{"header":{"A":["c\n"]}}]`:          `answer 1: header A has control characters`,
				`[` + strings.TrimSuffix(strings.Repeat(`{"status":503},`, 1001), ",") + `]`: `more than 1000 answers wait; send [] to forget them`,
			} {
				for _, path := range []string{"script", "script?" + token} {
					status, text := ask(http.MethodPost, path, body)
					require.Equal(t, http.StatusBadRequest, status, body)
					require.Contains(t, text, want, body)
				}
			}
			for path, body := range map[string]string{"script?token=another": `[{"status":503}]`, "script?token=": `[{"status":503}]`} {
				status, text := ask(http.MethodPost, path, body)
				require.Equal(t, http.StatusNotFound, status, path)
				require.Contains(t, text, "no such device")
			}
			status, text := ask(http.MethodPost, "script?tokne=x", `[{"status":503}]`)
			require.Equal(t, http.StatusBadRequest, status)
			require.Contains(t, text, `there is no parameter "tokne"`)
			for _, method := range []string{http.MethodDelete, http.MethodPut} {
				status, _ = ask(method, "devices?token=another", "")
				require.Equal(t, http.StatusNotFound, status, method)
				status, text = ask(method, "devices?"+token+"&offline=true", "")
				require.Equal(t, http.StatusBadRequest, status, method)
				require.Contains(t, text, `there is no parameter "offline"`)
			}
			status, _ = ask(http.MethodPut, "devices?"+token+"&online=no", "")
			require.Equal(t, http.StatusBadRequest, status)
			status, _ = ask(http.MethodGet, "pushes?token=another", "")
			require.Equal(t, http.StatusNotFound, status)

			// What it knows it takes.
			good := `[{"status":503,"times":2,"retry_after":"5"},{"hang":true},{"reset":true},{}]`
			if len(e.Codes) > 0 {
				good = `[{"code":"` + e.Codes[0] + `"}]`
			}
			for _, body := range []string{good, `[]`} {
				for _, path := range []string{"script", "script?" + token} {
					status, text := ask(http.MethodPost, path, body)
					require.Equal(t, http.StatusNoContent, status, text)
				}
			}
			for range 2 {
				status, _ = ask(http.MethodDelete, "devices?"+token, "")
				require.Equal(t, http.StatusNoContent, status, "it is gone, and stays so")
			}
		})
	}
}

// TestScriptWithoutStatus: a script of this process may say anything, and is answered
// by HTTP all the same.
func TestScriptWithoutStatus(t *testing.T) {
	for _, kind := range emulate.Types() {
		t.Run(kind, func(t *testing.T) {
			e, err := emulate.Start(kind, emulate.Memory)
			require.NoError(t, err)
			t.Cleanup(e.Close)
			device, err := e.NewDevice()
			require.NoError(t, err)
			e.Script("", emulate.Answer{Code: "503"})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.URL()+"/", strings.NewReader("{}"))
			require.NoError(t, err)
			if strings.HasPrefix(device.Token, "/") { // the others judge the request before they come to the script
				r.URL.Path = device.Token
			}
			answer, err := (&http.Client{Transport: e.Transport()}).Do(r)
			require.NoError(t, err)
			defer answer.Body.Close()
			require.GreaterOrEqual(t, answer.StatusCode, 400)
		})
	}
}
