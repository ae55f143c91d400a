package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse/internal/fetch"
)

// The reasons of a *Failure of Netlify.Call, with the status that Netlify's
// server answers for each. ErrTimeout (504), ErrBusy and ErrFailed (500) are
// the others.
var (
	// ErrUnreachable: there was no connection, or none was allowed (502).
	ErrUnreachable = errors.New("the server could not be reached")
	// ErrBadAnswer: the answer is too long or has not the form it should have
	// (500).
	ErrBadAnswer = errors.New("the answer could not be read")
	// ErrRejected: the status was none of 200, 202 and 204 at the last attempt
	// (422).
	ErrRejected = errors.New("the webhook refused")
)

// NetlifyOptions say who is called, and how.
type NetlifyOptions struct {
	// URL is an absolute one; Resolve makes it so.
	URL string
	// Secret signs the calls: the text of the setting as it is, not whsec_….
	// Empty: they are not signed.
	Secret Secret
	// Retries is how many attempts are made at most. Zero: 3.
	Retries int
	// Timeout bounds one attempt. Zero: 5 s.
	Timeout time.Duration
	// Waiting is how many calls may wait for the webhook at once; one more
	// fails at once. Zero: 64.
	Waiting int
	// Client makes the calls.
	Client *fetch.Client
	// Now is the clock of the signature. Nil: time.Now.
	Now func() time.Time
	// Instance is the UUID of the tenant.
	Instance string
}

// Netlify calls one webhook as Netlify's server does. It is safe for
// concurrent use.
type Netlify struct {
	opt    NetlifyOptions
	client *fetch.Client
	turns  turns // bounds the calls under way
}

// NetlifyAnswer is what a webhook wants changed. What is nil stays; what is
// there, a JSON object, takes the place of all that was.
type NetlifyAnswer struct {
	AppMetadata  json.RawMessage
	UserMetadata json.RawMessage
}

// NewNetlify checks o. It connects to nobody. Its errors do not repeat the
// URL.
func NewNetlify(o NetlifyOptions) (*Netlify, error) {
	if u, err := url.Parse(o.URL); err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("webhook: the URL is not an absolute http:// or https:// one")
	}
	if o.Client == nil {
		return nil, errors.New("webhook: no client to call it with")
	}
	if o.Retries <= 0 {
		o.Retries = 3
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Waiting <= 0 {
		o.Waiting = defaultWait
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // where the clock enters
	}
	return &Netlify{
		opt: o, turns: make(turns, o.Waiting),
		client: o.Client.Within(fetch.Limits{Timeout: o.Timeout, MaxBytes: maxAnswer, MaxConcurrent: o.Waiting}),
	}, nil
}

// Resolve returns a webhook's URL as an absolute one: "/hook" is a path on the
// site's host. Its errors do not repeat the URLs.
func Resolve(site, ref string) (string, error) {
	base, err := url.Parse(site)
	if err != nil || !base.IsAbs() || base.Hostname() == "" {
		return "", errors.New("webhook: the site's URL is not an absolute one")
	}
	u, err := url.Parse(ref)
	// "//host/path" looks relative and leads elsewhere.
	if err != nil || ref == "" || u.Opaque != "" || !u.IsAbs() && u.Host != "" {
		return "", errors.New("webhook: the URL is neither absolute nor a path of the site")
	}
	return base.ResolveReference(u).String(), nil
}

// Format writes the same for every verb: fmt would go past the mask of the
// secret inside (fmt.Formatter).
func (n *Netlify) Format(f fmt.State, _ rune) {
	io.WriteString(f, "webhook of instance "+n.opt.Instance)
}

// Call tells the webhook about event ("validate", "signup", "login",
// "usermodified", "userdeleted") and returns what it wants changed of the
// user; for userdeleted that is nothing. The error is a *Failure.
func (n *Netlify) Call(ctx context.Context, event string, user json.RawMessage) (changed NetlifyAnswer, err error) {
	status := 0
	failed := func(reason error, detail string) (NetlifyAnswer, error) {
		return NetlifyAnswer{}, &Failure{Callee: "webhook " + event, Reason: reason, Status: status, detail: detail}
	}
	body, err := json.Marshal(struct {
		Event      string          `json:"event"`
		InstanceID string          `json:"instance_id"`
		User       json.RawMessage `json:"user"`
	}{event, n.opt.Instance, user})
	if err != nil {
		return failed(ErrFailed, "the user is not JSON")
	}
	signature, err := n.sign(body)
	if err != nil {
		return failed(ErrFailed, "the call cannot be signed")
	}
	if !n.turns.take() {
		return failed(ErrBusy, "")
	}
	defer n.turns.leave()

	for attempt := 1; ; attempt++ {
		res, err := n.send(ctx, event, signature, body)
		var reason error
		var detail string
		switch {
		case res != nil && accepted(res.Status):
			answer, ok := changes(event, res)
			if !ok {
				return failed(ErrBadAnswer, "the answer is not the JSON it should be")
			}
			return answer, nil
		case res != nil:
			status = res.Status
			reason, detail = ErrRejected, "status "+strconv.Itoa(status)
		case errors.Is(err, context.Canceled):
			return failed(context.Canceled, "")
		case errors.Is(err, fetch.ErrTimeout):
			status = 0
			reason, detail = ErrTimeout, detailOf(err)
		case errors.Is(err, fetch.ErrTooLarge):
			return failed(ErrBadAnswer, "the answer is too large")
		default:
			return failed(ErrUnreachable, detailOf(err))
		}
		if attempt >= n.opt.Retries || ctx.Err() != nil {
			return failed(reason, detail)
		}
	}
}

func accepted(status int) bool {
	return status == http.StatusOK || status == http.StatusAccepted || status == http.StatusNoContent
}

// send makes one attempt. Its results are those of fetch.Client.Do.
func (n *Netlify) send(ctx context.Context, event, signature string, body []byte) (*fetch.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.opt.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be written")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Netlify-Event", "identity_"+event)
	if signature != "" {
		req.Header.Set("X-Webhook-Signature", signature)
	}
	return n.client.Do(ctx, req)
}

// sign returns the JWS that vouches for body, or "" without a secret.
func (n *Netlify) sign(body []byte) (string, error) {
	if len(n.opt.Secret) == 0 {
		return "", nil
	}
	digest := sha256.Sum256(body)
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iat": n.opt.Now().Unix(), "sub": n.opt.Instance, "iss": "gotrue", "sha256": hex.EncodeToString(digest[:]),
	}).SignedString([]byte(n.opt.Secret))
}

// changes reads what an answer wants changed. ok is false if it makes no
// sense, which must not be taken for "nothing".
func changes(event string, res *fetch.Response) (a NetlifyAnswer, ok bool) {
	if res.Status != http.StatusOK || event == "userdeleted" || len(bytes.TrimSpace(res.Body)) == 0 {
		return a, true
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(res.Body, &fields) != nil || fields == nil {
		return a, false
	}
	var ok1, ok2 bool
	a.AppMetadata, ok1 = object(fields["app_metadata"])
	a.UserMetadata, ok2 = object(fields["user_metadata"])
	if !ok1 || !ok2 {
		return NetlifyAnswer{}, false
	}
	return a, true
}

// object returns raw if it is a JSON object, nil if it is absent or null, and
// false if it is something else.
func object(raw json.RawMessage) (json.RawMessage, bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, true
	}
	return raw, raw[0] == '{'
}
