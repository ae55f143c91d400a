package captcha

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/fetch"
)

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 10 // bytes; real ones have some hundred
)

// Options say how a provider is asked.
type Options struct {
	// Secret is what the provider knows this server by.
	Secret string
	// URL is where tokens are judged: absolute http or https. Empty: the
	// provider's own.
	URL string
	// Timeout bounds one question. Zero: 10 s. The client's own limit holds,
	// too, so it must not be shorter.
	Timeout time.Duration
	// Hosts are those of the sites a token may have been solved on, without
	// port. Empty: any, as the provider itself knows the sites of a site key.
	Hosts []string
}

// siteverify is the one question that the providers share: a form with secret,
// response and remoteip, answered by a verdict in JSON.
type siteverify struct {
	name     string // of the provider
	maxToken int    // bytes
	url      string
	opt      Options
	client   *fetch.Client
}

func newSiteverify(client *fetch.Client, name, usual string, maxToken int, o Options) (siteverify, error) {
	if strings.TrimSpace(o.Secret) == "" {
		return siteverify{}, fmt.Errorf("captcha %s: the secret is missing", name)
	}
	if o.URL == "" {
		o.URL = usual
	}
	// The parser's text would repeat the URL, a password in it included.
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return siteverify{}, fmt.Errorf("captcha %s: the URL is not an absolute http or https one, or holds a password", name)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return siteverify{name: name, maxToken: maxToken, url: o.URL, opt: o, client: client}, nil
}

// Format writes the name of the provider, whatever the verb: one that strays
// into a log line does not give the secret away.
func (s siteverify) Format(f fmt.State, _ rune) { fmt.Fprint(f, "captcha "+s.name) }

// Check is that of Checker.
func (s siteverify) Check(ctx context.Context, token, ip string) error {
	// What is no token is not worth a question, and must not make the provider
	// fail in a way that looks like an outage.
	if token == "" || len(token) > s.maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s.fail(ErrRefused, nil, CodeMalformed)
	}
	form := url.Values{"secret": {s.opt.Secret}, "response": {token}}
	if ip := outer(ip); ip != "" {
		form.Set("remoteip", ip)
	}
	status, body, err := s.ask(ctx, form)
	if err != nil {
		return err
	}
	return s.judge(status, body)
}

// ask puts the question. An error is an *Error.
func (s siteverify) ask(ctx context.Context, form url.Values) (status int, body []byte, err error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	// Whether the caller's time, not ours, is what bounds the question: it may
	// be felt as a timeout just before the context says so.
	ends, _ := ctx.Deadline()
	theirs, bound := parent.Deadline()
	bound = bound && theirs.Equal(ends)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, s.fail(ErrSetup, nil)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	res, err := s.client.Do(ctx, req)
	var refused *fetch.StatusError
	switch {
	case err == nil, errors.As(err, &refused):
		return res.Status, res.Body, nil
	case parent.Err() != nil:
		return 0, nil, s.fail(parent.Err(), err)
	case bound && errors.Is(err, fetch.ErrTimeout):
		return 0, nil, s.fail(context.DeadlineExceeded, err)
	case errors.Is(err, fetch.ErrRefused): // an address that this server does not speak to
		return 0, nil, s.fail(ErrSetup, err)
	}
	return 0, nil, s.fail(ErrUnavailable, err)
}

// verdict is the answer of a provider.
type verdict struct {
	Success  *bool    `json:"success"`
	Codes    []string `json:"error-codes"`
	Hostname string   `json:"hostname"`
}

// judge reads an answer. Only a clear yes is one.
func (s siteverify) judge(status int, body []byte) error {
	detail := error(nil)
	if status != http.StatusOK {
		detail = fmt.Errorf("status %d", status)
	}
	var v verdict
	readable := len(body) <= maxAnswer && json.Unmarshal(body, &v) == nil && v.Success != nil
	has := func(codes ...string) bool {
		return slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(v.Codes, c) })
	}
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return s.fail(ErrUnavailable, detail)
	case readable && has("missing-input-secret", "invalid-input-secret"):
		return s.fail(ErrSetup, detail, known(v.Codes)...)
	case readable && !*v.Success && len(v.Codes) == 1 && has("internal-error"):
		return s.fail(ErrUnavailable, detail, known(v.Codes)...)
	case readable && (!*v.Success || len(v.Codes) > 0):
		return s.fail(ErrRefused, detail, known(v.Codes)...)
	case status/100 == 4:
		// Not an outage: a token that some filter before the provider dislikes
		// would otherwise be as good as a right one where outages let people in.
		return s.fail(ErrSetup, detail)
	case status != http.StatusOK || !readable:
		return s.fail(ErrUnavailable, detail, CodeUnreadable)
	case len(s.opt.Hosts) > 0 && !slices.ContainsFunc(s.opt.Hosts, func(h string) bool { return strings.EqualFold(h, v.Hostname) }):
		return s.fail(ErrRefused, nil, CodeHost)
	}
	return nil
}

func (s siteverify) fail(reason, detail error, codes ...string) *Error {
	return &Error{Provider: s.name, Reason: reason, Codes: codes, detail: detail}
}

// known picks the codes whose text is known, and says "unknown" in place of
// the others: what a provider makes up could repeat the token. Some of them
// sound like the operator's fault and are refusals all the same, because a
// token of another's site key brings them about.
func known(codes []string) []string {
	var list []string
	for _, c := range codes {
		switch c {
		case "missing-input-secret", "invalid-input-secret", "missing-input-response", "invalid-input-response",
			"expired-input-response", "already-seen-response", "invalid-or-already-seen-response", "timeout-or-duplicate",
			"missing-remoteip", "invalid-remoteip", "not-using-dummy-passcode", "sitekey-secret-mismatch",
			"bad-request", "internal-error":
		default:
			c = "unknown"
		}
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// outer is the address of a client if a provider can make something of it: a
// proxy's inner address would only spoil its judgement.
func outer(ip string) string {
	a, err := netip.ParseAddr(ip)
	if a = a.Unmap().WithZone(""); err != nil || !a.IsGlobalUnicast() || a.IsPrivate() {
		return ""
	}
	return a.String()
}
