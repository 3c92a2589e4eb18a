package wnode

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"whisperpush/pushext/credentials"
	"whisperpush/pushext/emulate"
	"whisperpush/wnode/rpc"
)

// pushSource is where a device on the command line receives its pushes from.
type pushSource struct {
	each  func(ctx context.Context, handle func(body []byte) error) error // until ctx ends or handle returns an error
	close func()
}

// connect makes the device reachable, and fills in its address.
func (s *deviceSettings) connect(ctx context.Context) (*pushSource, error) {
	switch {
	case s.Emulator != "":
		return s.connectEmulator(ctx)
	case s.Listen != "":
		return s.listenWebhook()
	}
	return &pushSource{close: func() {}}, nil
}

// connectEmulator uses the control interface of an emulated push service; see emulate.ControlPath.
func (s *deviceSettings) connectEmulator(ctx context.Context) (*pushSource, error) {
	at, err := emulatorAt(s.Emulator)
	if err != nil {
		return nil, err
	}
	if s.Token == "" {
		var device emulate.Device
		answer, err := at.ask(ctx, http.MethodPost, "devices")
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(&device); err != nil || device.Address == "" {
			return nil, errors.New("what answers at --emulator is no emulated push service")
		}
		s.Device, s.Token, s.Keys = device.Token, device.Address, nil
		for _, key := range device.Keys {
			s.Keys = append(s.Keys, key)
		}
		if s.Provider == "" {
			s.Provider = device.Type
		}
		if s.Provider == "" { // a user's own emulator, which has no type
			s.Provider = "fcm"
		}
	}
	name := s.Device
	if name == "" { // registered by an earlier version
		name = s.Token
	}
	each := func(ctx context.Context, handle func(body []byte) error) error {
		answer, err := at.ask(ctx, http.MethodGet, "pushes?token="+url.QueryEscape(name))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		for pushes := json.NewDecoder(answer.Body); ; {
			var push emulate.Push
			if err := pushes.Decode(&push); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return errors.New("the emulated push service hung up")
			}
			if err := handle(push.Body); err != nil {
				return err
			}
		}
	}
	return &pushSource{each: each, close: at.client.CloseIdleConnections}, nil
}

// emulator is the control interface of an emulated push service.
type emulator struct {
	base   string // with a slash at its end
	client *http.Client
}

// emulatorAt checks --emulator. On this computer it accepts any certificate, because an emulator makes its own and has
// no secrets.
func emulatorAt(text string) (*emulator, error) {
	u, err := credentials.Base("--emulator", text, "http://127.0.0.1:9001", "http", "https")
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() || u.Hostname() == "localhost" {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	return &emulator{base: u.String() + emulate.ControlPath, client: &http.Client{Transport: transport}}, nil
}

func (e *emulator) ask(ctx context.Context, method, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, e.base+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := e.client.Do(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, errors.New("there is no emulated push service at --emulator; start it first, or give its URL")
	case answer.StatusCode == http.StatusNotFound:
		answer.Body.Close()
		return nil, errors.New("the emulated push service does not know this device; register it again")
	case answer.StatusCode != http.StatusOK:
		answer.Body.Close()
		return nil, fmt.Errorf("the emulated push service answered %s", answer.Status)
	}
	return answer, nil
}

// listenWebhook receives webhooks and verifies their signatures.
func (s *deviceSettings) listenWebhook() (*pushSource, error) {
	cfg := emulate.WebhookConfig{Addr: s.Listen}
	if s.Path != "" {
		cfg.Endpoints = map[string][]byte{s.Path: s.Secret}
	}
	hook, err := emulate.StartWebhook(cfg)
	if err != nil {
		return nil, rpc.ListenError(err, "web-hooks", rpc.PortOf(s.Listen), "webhook", "webhook")
	}
	if s.Path == "" {
		s.Token, s.Path, s.Secret = hook.NewEndpoint()
		s.Listen = strings.TrimPrefix(hook.URL(), "http://") // with the port, if it was 0
	} else {
		s.Token = hook.URL() + s.Path
	}
	pushes := hook.Pushes(s.Path)
	each := func(ctx context.Context, handle func(body []byte) error) error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case push := <-pushes:
				if err := handle(push.Body); err != nil {
					return err
				}
			}
		}
	}
	return &pushSource{each: each, close: hook.Close}, nil
}
