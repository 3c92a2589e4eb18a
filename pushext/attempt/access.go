package attempt

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"whisperpush/pushext"
)

const (
	// refreshEarly is how long before its end an access token is replaced, while
	// pushes go on with the old one.
	refreshEarly = 5 * time.Minute

	// HoldRefusal is how long a failed exchange answers for the next ones, so
	// that a backlog of pushes does not become a storm of exchanges.
	HoldRefusal = time.Second
)

// Access keeps an OAuth 2.0 access token (RFC 6749) and posts with it. Any number
// of pushes share one exchange.
type Access struct {
	client   *http.Client
	tokenURL string
	form     func(now time.Time) (url.Values, error)
	timeout  time.Duration
	flight   singleflight.Group

	mu      sync.Mutex // guards the following fields
	current grant
	granted time.Time // when current came
	refresh time.Time // replace from here on
	expiry  time.Time // unusable from here on
	refused error     // of the last exchange
	until   time.Time // refused stands until then
}

// grant is an access token.
type grant struct {
	token  string      // "" if there is none
	header http.Header // of a JSON body that is posted with it; only read
}

// NewAccess makes an Access that posts form to tokenURL, within timeout.
func NewAccess(client *http.Client, tokenURL string, timeout time.Duration, form func(now time.Time) (url.Values, error)) *Access {
	return &Access{client: client, tokenURL: tokenURL, form: form, timeout: timeout}
}

// Close drops idle connections.
func (a *Access) Close() { a.client.CloseIdleConnections() }

// usable returns an access token that can be used at now. It waits for an exchange only
// when there is none; one near its end, or from before the clock was set, is replaced in
// the background. What is signed for an exchange is never kept.
func (a *Access) usable(ctx context.Context, now time.Time) (grant, error) {
	a.mu.Lock()
	current, refresh, expiry := a.current, a.refresh, a.expiry
	if Stepped(a.granted, now) {
		refresh = now
	}
	refused, until := a.refused, a.until
	a.mu.Unlock()
	held := refused != nil && now.Before(until)
	switch {
	case current.token != "" && now.Before(refresh):
		return current, nil
	case current.token != "" && now.Before(expiry):
		if !held {
			a.flight.DoChan("", a.exchange)
		}
		return current, nil
	case held:
		return grant{}, refused
	}
	select {
	case result := <-a.flight.DoChan("", a.exchange):
		if result.Err != nil {
			return grant{}, result.Err
		}
		return result.Val.(grant), nil
	case <-ctx.Done():
		return grant{}, ctx.Err()
	}
}

// forget drops an access token that was refused, unless it was replaced meanwhile.
func (a *Access) forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current.token == token {
		a.current = grant{}
	}
}

// Post sends a JSON body to url with an access token; judge makes the verdict of the
// answer. An answer for which stale is true says that the token is no longer taken. That
// alone is worth a second request, with a new token, and only one: if a new token is
// refused as well, the account is at fault. Without a token or an answer the reason of
// the verdict begins with kind.
func (a *Access) Post(ctx context.Context, kind, url string, body []byte, stale func(Answer) bool, judge func(Answer, time.Time) pushext.Verdict) pushext.Verdict {
	for renewed := false; ; renewed = true {
		granted, err := a.usable(ctx, time.Now())
		if err != nil {
			return Unauthorised(kind, err, time.Now())
		}
		answer, err := Post(ctx, a.client, url, granted.header, body)
		if err != nil {
			return Failed(kind, err)
		}
		if stale(answer) && !renewed {
			a.forget(granted.token)
			continue
		}
		return judge(answer, time.Now())
	}
}

// exchange runs apart from any one push, which may be cancelled.
func (a *Access) exchange() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	token, life, err := a.request(ctx)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.refused, a.until = err, now.Add(HoldRefusal)
		return grant{}, err
	}
	a.refused = nil
	a.current = grant{token, http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}}
	a.granted = now
	a.expiry = now.Add(life)
	a.refresh = a.expiry.Add(-min(refreshEarly, life/2))
	return a.current, nil
}

// refusal is an exchange that the token endpoint answered otherwise than with a token.
type refusal struct{ Answer }

func (refusal) Error() string { return "the token endpoint gave no access token" }

func (a *Access) request(ctx context.Context) (token string, life time.Duration, err error) {
	form, err := a.form(time.Now())
	if err != nil {
		return "", 0, err
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	answer, err := Post(ctx, a.client, a.tokenURL, header, []byte(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	granted, life, ok := readGrant(answer)
	if !ok {
		return "", 0, refusal{answer}
	}
	return granted, life, nil
}

// maxLife is the longest life of an access token that is believed.
const maxLife = 24 * time.Hour

// readGrant reads a successful answer of a token endpoint, RFC 6749 section 5.1.
func readGrant(a Answer) (token string, life time.Duration, ok bool) {
	object, _ := a.Object()
	token = Text(object, "access_token")
	if a.Status != http.StatusOK || token == "" || strings.ContainsAny(token, "\r\n") || !strings.EqualFold(Text(object, "token_type"), "Bearer") {
		return "", 0, false
	}
	// In seconds; some endpoints write it as a string.
	seconds := min(max(object.Get("expires_in").Int(), 0), int64(maxLife/time.Second))
	return token, time.Duration(seconds) * time.Second, true
}

// Unauthorised is the verdict of a push for which there is no access token. Its reason is
// kind, "oauth", and the status or the kind of network failure.
func Unauthorised(kind string, err error, now time.Time) pushext.Verdict {
	kind += " oauth"
	refused, ok := errors.AsType[refusal](err)
	if !ok {
		return Failed(kind, err)
	}
	reason := kind + " " + Status(refused.Status)
	switch {
	case refused.Status == http.StatusTooManyRequests, refused.Status >= 500:
		return refused.Later(now, reason)
	case refused.Status == http.StatusOK:
		return pushext.Verdict{Class: pushext.Retry, Reason: kind + " unreadable"}
	}
	return pushext.Verdict{Class: pushext.ProviderBroken, Reason: reason}
}

// Status is an HTTP status as part of a reason: "other" if nobody has defined it, because
// reasons are a bounded set whatever a server answers.
func Status(status int) string {
	if http.StatusText(status) == "" {
		return "other"
	}
	return strconv.Itoa(status)
}
