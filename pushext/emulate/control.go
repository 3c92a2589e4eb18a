package emulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// maxScript is how many answers may wait for one device.
const maxScript = 1000

// ControlPath is the path below which every emulator lets other processes act
// as its devices:
//
//	POST   {ControlPath}devices                 registers a device: {"token":"…","address":"…","keys":["base64",…],"type":"…"}
//	DELETE {ControlPath}devices?token=T         removes the app from it
//	PUT    {ControlPath}devices?token=T&online=false   takes it off the network; with true, brings it back
//	GET    {ControlPath}pushes?token=T          its pushes as JSON lines, as they come, until the caller hangs up
//	POST   {ControlPath}script?token=T          [Answer, …] for its next pushes; without token for all devices
//
// An unknown parameter, field or device is refused by name, with 400 or 404.
// There is no authentication: an emulator listens on loopback.
const ControlPath = "/-/"

func (s *Service) control(mux *http.ServeMux) {
	handle := func(pattern string, parameters []string, f http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			for name := range r.URL.Query() {
				if !slices.Contains(parameters, name) {
					http.Error(w, fmt.Sprintf("there is no parameter %q", name), http.StatusBadRequest)
					return
				}
			}
			f(w, r)
		})
	}
	token := []string{"token"}
	handle("POST "+ControlPath+"devices", nil, func(w http.ResponseWriter, r *http.Request) {
		device := Device{}
		var err error
		if s.subscribe != nil {
			device, err = s.subscribe()
		} else {
			device.Token = s.NewToken()
			device.Address = device.Token
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reply(w, http.StatusOK, device)
	})
	handle("DELETE "+ControlPath+"devices", token, func(w http.ResponseWriter, r *http.Request) {
		token := r.FormValue("token")
		if !s.registered(token) {
			http.Error(w, "no such device", http.StatusNotFound)
			return
		}
		s.Unregister(token)
		w.WriteHeader(http.StatusNoContent)
	})
	handle("PUT "+ControlPath+"devices", []string{"token", "online"}, func(w http.ResponseWriter, r *http.Request) {
		switch token := r.FormValue("token"); {
		case !s.known(token):
			http.Error(w, "no such device", http.StatusNotFound)
			return
		case r.FormValue("online") == "true":
			s.Connect(token)
		case r.FormValue("online") == "false":
			s.Disconnect(token)
		default:
			http.Error(w, "online is neither true nor false", http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	handle("GET "+ControlPath+"pushes", token, s.stream)
	handle("POST "+ControlPath+"script", token, func(w http.ResponseWriter, r *http.Request) {
		token := r.URL.Query().Get("token")
		if r.URL.Query().Has("token") && !s.registered(token) {
			http.Error(w, "no such device", http.StatusNotFound)
			return
		}
		answers, err := s.readScript(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !s.script(token, answers) {
			http.Error(w, fmt.Sprintf("more than %d answers wait; send [] to forget them", maxScript), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// readScript reads a JSON list of answers that this service can give.
func (s *Service) readScript(body io.Reader) ([]Answer, error) {
	var answers []Answer
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&answers); err != nil {
		return nil, fmt.Errorf("the body is not a JSON list of answers: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body is not one JSON list of answers: something follows it")
	}
	for i, a := range answers {
		if err := s.Check(a); err != nil {
			return nil, fmt.Errorf("answer %d: %w", i+1, err)
		}
	}
	return answers, nil
}

// script is Script, but refuses if too many answers would wait.
func (s *Service) script(token string, answers []Answer) bool {
	s.mu.Lock()
	room := len(s.scripts[token])+len(answers) <= maxScript
	s.mu.Unlock()
	if room {
		s.Script(token, answers...)
	}
	return room
}

// registered reports whether a device is or was registered.
func (s *Service) registered(token string) bool {
	_, gone := s.goneSince(token)
	return gone || s.known(token)
}

// stream writes a device's pushes as they arrive.
func (s *Service) stream(w http.ResponseWriter, r *http.Request) {
	pushes := s.Pushes(r.FormValue("token"))
	if pushes == nil {
		http.Error(w, "no such device", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flusher := http.NewResponseController(w)
	_ = flusher.Flush() // the header tells the device that the stream has begun
	encoder := json.NewEncoder(w)
	for {
		select {
		case p := <-pushes:
			if encoder.Encode(p) != nil || flusher.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	status = sayable(status)
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
