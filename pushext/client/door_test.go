package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// doorDevice opens a device at a door that answers what the test wants.
func doorDevice(t *testing.T, answer http.HandlerFunc) (*Device, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	d, err := Open(t.Context(), Config{
		Server: server.URL, PushKey: hexOf(&key.PublicKey),
		Chats: []Chat{PasswordChat("family", whisper.Topic{1, 2, 3, 4}, "kitchen")},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d, key
}

func hexOf(key *ecdsa.PublicKey) string { return hexutil.Encode(crypto.CompressPubkey(key)) }

func TestDoorAddresses(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	for address, says := range map[string]string{
		"https://mail.example.org":                  "",
		"https://mail.example.org:8443/":            "",
		"http://127.0.0.1:8080":                     "",
		"http://[::1]:8080":                         "",
		"http://localhost":                          "",
		"http://mail.example.org":                   "has to be https",
		"https://":                                  "the URL of a door is https://HOST",
		"https://mail.example.org/path":             "the URL of a door is https://HOST",
		"https://mail.example.org?x=1":              "the URL of a door is https://HOST",
		"https://user:password@mail.example.org":    "the URL of a door is https://HOST",
		"ftp://mail.example.org":                    "neither an enode URL nor the https URL",
		"mail.example.org":                          "neither an enode URL nor the https URL",
		"enode://12@127.0.0.1:30303":                "neither an enode URL nor the https URL",
		"https://mail.example.org:notaport/":        "neither an enode URL nor the https URL",
		"enode://" + strings.Repeat("g", 128) + "@": "neither an enode URL nor the https URL",
	} {
		d, err := Open(t.Context(), Config{Server: address, PushKey: hexOf(&key.PublicKey)})
		if says == "" {
			require.NoError(t, err, address)
			require.NoError(t, d.Close())
			continue
		}
		require.ErrorContains(t, err, says, address)
		require.NotContains(t, err.Error(), "password", "nothing secret in an error")
	}
}

// Whatever a door says, a device gets an error in words, follows nobody elsewhere, and asks
// again where that may help.
func TestHostileDoors(t *testing.T) {
	frame := func(kind byte, size uint32, content []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{kind}, size), content...)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"a frame longer than any": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write(frame(frameDirect, 1<<32-1, make([]byte, 1000)))
		}, "a frame of 4294967295 bytes"},
		"a promise of ten megabytes": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write(frame(frameDirect, 10<<20, []byte("and nothing more")))
		}, "broke off"},
		"many frames": {func(w http.ResponseWriter, r *http.Request) {
			for range 20 {
				w.Write(frame(7, 1<<20, make([]byte, 1<<20)))
			}
		}, "bytes, and at most"},
		"half a head":        {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{frameDirect, 0, 0}) }, "broke off"},
		"no envelope":        {func(w http.ResponseWriter, _ *http.Request) { w.Write(frame(frameDirect, 4, []byte("what"))) }, "no envelopes"},
		"busy":               {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "come back later", 503) }, `503: "come back later"`},
		"a long explanation": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("x", 1<<20), 500) }, "500"},
		"another place":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, 307) }, "307"},
		"it hangs up": {func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, "reaching the door"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _ := doorDevice(t, c.answer)
			_, err := d.Status(t.Context())
			require.ErrorContains(t, err, c.says)
			var gaveUp *GaveUpError
			require.ErrorAs(t, err, &gaveUp)
			require.Equal(t, maxAttempts, gaveUp.Attempts)
		})
	}
}

// offer is the offer of a new node.
func offer(t *testing.T, sign *ecdsa.PrivateKey) []byte {
	t.Helper()
	node, err := crypto.GenerateKey()
	require.NoError(t, err)
	url := "enode://" + hex.EncodeToString(crypto.FromECDSAPub(&node.PublicKey)[1:]) + "@127.0.0.1:30303"
	env, err := pushwire.SealOffer(t.Context(), pushwire.Offer{Issued: 1, Expires: 2, Enode: url}, sign, time.Minute, 0.2)
	require.NoError(t, err)
	return env.Raw()
}

// A request of history that does not get through a door is sent again, as over a link.
func TestDoorHistoryTriesAgain(t *testing.T) {
	t.Parallel()
	var ours []byte
	d, key := doorDevice(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != doorOffer {
			panic(http.ErrAbortHandler)
		}
		w.Write(ours)
	})
	ours = offer(t, key)
	_, err := d.History(t.Context())
	var gaveUp *GaveUpError
	require.ErrorAs(t, err, &gaveUp)
	require.Equal(t, maxAttempts, gaveUp.Attempts)
	require.ErrorContains(t, err, "reaching the door")
}

// A door's offer must be of the push key that the app was given, or its node key is not
// believed.
func TestDoorOffer(t *testing.T) {
	other, err := crypto.GenerateKey()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		body func(t *testing.T, key *ecdsa.PrivateKey) []byte
		says string
	}{
		"the server's":       {offer, ""},
		"another server's":   {func(t *testing.T, _ *ecdsa.PrivateKey) []byte { return offer(t, other) }, "another push key"},
		"no envelope":        {func(*testing.T, *ecdsa.PrivateKey) []byte { return []byte("<html>") }, "offer of the mailserver"},
		"longer than offers": {func(*testing.T, *ecdsa.PrivateKey) []byte { return make([]byte, maxOffer+1) }, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			var body []byte
			d, key := doorDevice(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == doorOffer {
					w.Write(body)
					return
				}
				http.Error(w, "asked for mail", 418)
			})
			body = c.body(t, key)
			node, err := d.server.(*door).node(t.Context())
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.NotNil(t, node.PublicKey)
			_, err = d.History(t.Context())
			require.ErrorContains(t, err, "asked for mail")
		})
	}
}

// A length is a promise, for which no memory is taken.
func TestFrameMemory(t *testing.T) {
	var before, after runtime.MemStats
	promise := append(binary.BigEndian.AppendUint32([]byte{frameDirect}, maxFrame), make([]byte, 1000)...)
	runtime.ReadMemStats(&before)
	_, _, err := readFrame(bytes.NewReader(promise), maxFrame)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10))
}

// stream is the body of an answer: what is said, and then nothing until the request ends.
type stream struct {
	said    chan []byte
	request *http.Request
}

func (s stream) Read(p []byte) (int, error) {
	select {
	case said := <-s.said:
		return copy(p, said), nil
	case <-s.request.Context().Done():
		return 0, context.Cause(s.request.Context())
	}
}

func (s stream) Close() error { return nil }

// RoundTrip implements http.RoundTripper.
func (s stream) RoundTrip(r *http.Request) (*http.Response, error) {
	s.request = r
	return &http.Response{StatusCode: http.StatusOK, Body: s}, nil
}

// A ring stream on which nothing comes any more is over: the other end may be gone
// without a word.
func TestSilentRingStream(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		s := stream{said: make(chan []byte)}
		e, err := parseEndpoint("https://mail.example.org", &key.PublicKey, s)
		require.NoError(t, err)
		dialled, err := e.dial(t.Context(), nil, nil)
		require.NoError(t, err)
		defer dialled.close()
		env := new(whisper.Envelope)
		require.NoError(t, dialled.show(t.Context(), env))
		for range 10 {
			time.Sleep(25 * time.Second)
			s.said <- []byte{frameAlive, 0, 0, 0, 0}
			synctest.Wait()
			require.True(t, dialled.up())
		}
		time.Sleep(aliveWithin - time.Millisecond)
		synctest.Wait()
		require.True(t, dialled.up())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.False(t, dialled.up())
		require.ErrorContains(t, context.Cause(dialled.life()), "fallen silent")
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{frameDirect, 0, 0, 0, 3, 1, 2, 3})
	f.Add([]byte{frameAlive, 0, 0, 0, 0, frameComplete, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := bytes.NewReader(answer)
		for {
			kind, content, err := readFrame(r, 1<<10)
			if err != nil {
				return
			}
			require.LessOrEqual(t, len(content), 1<<10)
			end := len(answer) - r.Len()
			require.Equal(t, answer[end-len(content):end], content)
			require.Equal(t, kind, answer[end-len(content)-5])
		}
	})
}
