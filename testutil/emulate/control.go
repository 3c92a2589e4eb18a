package emulate

import (
	"encoding/json"
	"net/http"
)

// ControlPath is below which every emulator lets other processes play device:
//
//	POST   {ControlPath}devices                 registers a device: {"token":"…","address":"…","keys":["base64",…]}
//	DELETE {ControlPath}devices?token=T         removes the app from it
//	PUT    {ControlPath}devices?token=T&online=false   takes it off the network; with true, brings it back
//	GET    {ControlPath}pushes?token=T          its pushes as JSON lines, as they come, until the caller hangs up
//	POST   {ControlPath}script?token=T          [Answer, …] for its next pushes; without token for all devices
//
// There is no authentication: an emulator listens on loopback.
const ControlPath = "/-/"

func (s *Service) control(mux *http.ServeMux) {
	mux.HandleFunc("POST "+ControlPath+"devices", func(w http.ResponseWriter, r *http.Request) {
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
	mux.HandleFunc("DELETE "+ControlPath+"devices", func(w http.ResponseWriter, r *http.Request) {
		s.Unregister(r.FormValue("token"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT "+ControlPath+"devices", func(w http.ResponseWriter, r *http.Request) {
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
	mux.HandleFunc("GET "+ControlPath+"pushes", s.stream)
	mux.HandleFunc("POST "+ControlPath+"script", func(w http.ResponseWriter, r *http.Request) {
		var answers []Answer
		if err := json.NewDecoder(r.Body).Decode(&answers); err != nil {
			http.Error(w, "the body is not a JSON list of answers: "+err.Error(), http.StatusBadRequest)
			return
		}
		s.Script(r.URL.Query().Get("token"), answers...)
		w.WriteHeader(http.StatusNoContent)
	})
}

// stream writes a device's pushes as they come.
func (s *Service) stream(w http.ResponseWriter, r *http.Request) {
	pushes := s.Pushes(r.FormValue("token"))
	if pushes == nil {
		http.Error(w, "no such device", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flusher := http.NewResponseController(w)
	_ = flusher.Flush() // the header tells the device that it is listening
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
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
