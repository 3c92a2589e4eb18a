package node

import (
	"context"
	"net/http"
	"time"

	"whisperpush/config"
)

// clockTimeout bounds one question for the time.
const clockTimeout = 15 * time.Second

// serviceEndpoints are the addresses of the push services, for settings without an Endpoint.
var serviceEndpoints = map[string]string{
	"fcm": "https://fcm.googleapis.com/", "hms": "https://push-api.cloud.huawei.com/", "pushy": "https://api.pushy.me/",
}

// ServiceClock is the time at the first of the providers' push services that tells it. Hosts of users are not asked.
func ServiceClock(ctx context.Context, providers []config.Provider) (time.Time, bool) {
	for _, p := range providers {
		url, _ := p.Option("Endpoint").(string)
		if url == "" {
			url = serviceEndpoints[p.Type]
		}
		if there, ok := clockAt(ctx, url); ok {
			return there, true
		}
	}
	return time.Time{}, false
}

// clockAt asks an HTTP server for the time, to the second.
func clockAt(ctx context.Context, url string) (time.Time, bool) {
	if url == "" {
		return time.Time{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return time.Time{}, false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	answer, err := client.Do(request)
	if err != nil {
		return time.Time{}, false
	}
	answer.Body.Close()
	at, err := http.ParseTime(answer.Header.Get("Date"))
	return at, err == nil
}
