// Command server is gorush v1.22.0, unmodified, as a process that tests drive: its own
// router, queue, notifiers and clients, assembled as its main does. Its client of FCM
// and its connections to APNs are redirected to emulators, for which its configuration
// has no setting.
//
//	server -config FILE -fcm ENDPOINT -apns URL -apns-ca FILE
//
// It prints its URL when it answers. The end of stdin stops it. Package genuinegorush
// of the main module runs it.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/appleboy/go-fcm"
	"github.com/appleboy/gorush/app"
	"github.com/appleboy/gorush/config"
	"github.com/appleboy/gorush/core"
	"github.com/appleboy/gorush/logx"
	"github.com/appleboy/gorush/notify"
	"github.com/appleboy/gorush/router"
	"github.com/appleboy/gorush/status"
	"github.com/golang-queue/queue"
	qcore "github.com/golang-queue/queue/core"
)

// tries is how many times a free port is looked for.
const tries = 5

func main() {
	var o options
	flag.StringVar(&o.config, "config", "", "gorush's configuration `FILE`")
	flag.StringVar(&o.fcm, "fcm", "", "`ENDPOINT` of FCM, with the version")
	flag.StringVar(&o.apns, "apns", "", "`URL` of APNs")
	flag.StringVar(&o.ca, "apns-ca", "", "`FILE` of the certificate authority there")
	flag.Parse()
	stdout := os.Stdout
	os.Stdout = os.Stderr // where gorush logs, whatever its configuration says
	if err := run(o, stdout); err != nil {
		fmt.Fprintln(os.Stderr, "genuine gorush:", err)
		os.Exit(1)
	}
}

type options struct{ config, fcm, apns, ca string }

func run(o options, stdout io.Writer) error {
	cfg, err := config.LoadConf(o.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	router.SetVersion("1.22.0")
	notify.MaxConcurrentIOSPushes = make(chan struct{}, cfg.Ios.MaxConcurrentPushes)
	if err := errors.Join(
		config.ValidateConfig(cfg),
		logx.InitLog(cfg.Log.AccessLevel, cfg.Log.AccessLog, cfg.Log.ErrorLevel, cfg.Log.ErrorLog),
		notify.CheckPushConf(cfg),
		status.InitAppStatus(cfg),
		clients(ctx, cfg, o),
	); err != nil {
		return err
	}
	worker, err := newWorker(cfg)
	if err != nil {
		return err
	}
	q := app.NewQueuePool(cfg, worker)
	defer q.Release()
	return serve(ctx, cfg, q, stdout)
}

// clients has gorush make its clients from its configuration, then redirects them to
// the emulators.
func clients(ctx context.Context, cfg *config.ConfYaml, o options) error {
	if cfg.Android.Enabled {
		var err error
		if notify.FCMClient, err = fcm.NewClient(ctx, fcm.WithCredentialsFile(cfg.Android.KeyPath), fcm.WithEndpoint(o.fcm)); err != nil {
			return fmt.Errorf("client of FCM: %w", err)
		}
		if _, err := notify.InitFCMClient(ctx, cfg); err != nil { // which caches that client
			return err
		}
	}
	if !cfg.Ios.Enabled {
		return nil
	}
	if err := notify.InitAPNSClient(ctx, cfg); err != nil {
		return err
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return err
	}
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", o.ca)
	}
	to, err := url.Parse(o.apns)
	if err != nil {
		return err
	}
	notify.ApnsClient.HTTPClient.Transport = redirected{to.Host, &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
	}}
	return nil
}

// redirected sends every request to another host.
type redirected struct {
	host string
	by   http.RoundTripper
}

func (r redirected) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Host, req.Host = r.host, ""
	return r.by.RoundTrip(req)
}

// newWorker is gorush's, except for queues that are servers of their own: such a queue
// is only named, and works as the local one.
func newWorker(cfg *config.ConfYaml) (qcore.Worker, error) {
	if !core.IsLocalQueue(core.Queue(cfg.Queue.Engine)) {
		return queue.NewRing(queue.WithQueueSize(int(cfg.Core.QueueNum)), queue.WithFn(notify.Run(cfg)), queue.WithLogger(logx.QueueLogger())), nil
	}
	return app.NewQueueWorker(cfg)
}

// serve runs gorush's HTTP server, which takes a port number and no listener.
func serve(ctx context.Context, cfg *config.ConfYaml, q *queue.Queue, stdout io.Writer) error {
	cfg.Core.Address = "127.0.0.1"
	for try := 1; ; try++ {
		var err error
		if cfg.Core.Port, err = freePort(); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- router.RunHTTPServer(ctx, cfg, q) }()
		at := "http://127.0.0.1:" + cfg.Core.Port
		select {
		case err := <-ended: // another process got the port meanwhile
			if ctx.Err() != nil || try == tries {
				return err
			}
		case <-answers(ctx, at+cfg.API.HealthURI):
			fmt.Fprintln(stdout, at)
			return <-ended
		}
	}
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

// answers returns a channel that is closed when url answers 200.
func answers(ctx context.Context, url string) <-chan struct{} {
	told := make(chan struct{})
	go func() {
		for ctx.Err() == nil {
			if answer, err := http.Get(url); err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					close(told)
					return
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return told
}
