package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gatehouse/internal/fetch"
)

// The reasons of a *Failure; ask for them with errors.Is. Hook.Call gives the
// first six, Netlify.Call says which are its own.
var (
	// ErrTimeout: no whole answer came in time.
	ErrTimeout = errors.New("no whole answer in time")
	// ErrTimeoutAfterRetry: the hook asked to be called later until the time
	// or the tries were used up.
	ErrTimeoutAfterRetry = errors.New("no answer after retries")
	// ErrTooLarge: the answer is longer than 200 KiB.
	ErrTooLarge = errors.New("the answer is too large")
	// ErrContentType: the answer is not application/json.
	ErrContentType = errors.New("the answer is not application/json")
	// ErrBusy: as many calls as may wait are waiting already.
	ErrBusy = errors.New("too many calls are waiting already")
	// ErrFailed: anything else, such as a server out of reach, another status,
	// an answer that is no JSON object.
	ErrFailed = errors.New("the call failed")
)

const (
	hookLimit     = 5 * time.Second // one call of a hook, all tries together
	hookPause     = 2 * time.Second // between tries
	hookTries     = 3
	functionLimit = 2 * time.Second
	maxAnswer     = 200 << 10 // bytes
	maxMessage    = 500       // bytes
	defaultWait   = 64        // calls
)

// Failure is a call that brought no usable answer. Its text names who was
// called and the reason, nothing more.
type Failure struct {
	Callee string // "hook send-sms"
	Reason error  // one of the list above, or context.Canceled if the caller gave up
	Status int    // of ErrRejected: what was answered last
	detail string
}

// Error reads "hook send-sms: no whole answer in time".
func (f *Failure) Error() string { return f.Callee + ": " + f.Reason.Error() }

// Unwrap returns the reason.
func (f *Failure) Unwrap() error { return f.Reason }

// Detail is what happened on the way, for the operator's log only: it may hold
// inner addresses and must never reach a client. It may be empty.
func (f *Failure) Detail() string { return f.detail }

// Refusal is a hook's own no, which is meant for the client.
type Refusal struct {
	Status  int    // HTTP status to answer with, 400 to 599
	Message string // at most 500 bytes, no control characters; may be empty
}

// Error reads "the hook refused (403): not from here".
func (r *Refusal) Error() string {
	return fmt.Sprintf("the hook refused (%d): %s", r.Status, r.Message)
}

// HookOptions say who is asked, and how.
type HookOptions struct {
	// Name goes into Metadata and messages: "send-sms".
	Name string
	// URI is https://…, http://… for loopback hosts alone, or
	// pg-functions://postgres/<schema>/<function>.
	URI string
	// Secrets sign the calls, which those over HTTP need.
	Secrets []Secret
	// Client makes the calls over HTTP. For loopback hosts it must allow
	// private addresses.
	Client *fetch.Client
	// Waiting is how many calls may wait for the hook at once; one more fails
	// at once, so that a slow hook cannot hold everybody. Zero: 64.
	Waiting int
	// Separator stands between several signatures. Empty: ", ", as Supabase
	// has it; the standard's is " ".
	Separator string
	// Now is the clock of signatures and Metadata. Nil: time.Now.
	Now func() time.Time
	// Function calls a database function with JSON and returns its JSON. It
	// keeps to the deadline of its context, and its error wraps
	// context.DeadlineExceeded if the database stopped it for that. The text
	// of its error goes into the operator's log, so it must not repeat what
	// went in. Nil: there are none.
	Function func(ctx context.Context, schema, function string, in []byte) ([]byte, error)
}

// Hook is one thing to ask before going on. It is safe for concurrent use.
type Hook struct {
	opt              HookOptions
	url              string
	schema, function string // of a database function
	client           *fetch.Client
	turns            turns
	limit            time.Duration // of one call, all tries together
	functionLimit    time.Duration
	pause            func(context.Context) error // between tries
}

var functionURI = regexp.MustCompile(`^pg-functions://postgres/([A-Za-z_][A-Za-z0-9_]{0,62})/([A-Za-z_][A-Za-z0-9_]{0,62})$`)

// NewHook checks o. It connects to nobody. Its errors do not repeat the URI.
func NewHook(o HookOptions) (*Hook, error) {
	if o.Name == "" {
		return nil, errors.New("a hook needs a name")
	}
	if o.Waiting <= 0 {
		o.Waiting = defaultWait
	}
	if o.Separator == "" {
		o.Separator = ", "
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // where the clock enters
	}
	h := &Hook{
		opt: o, url: o.URI, turns: make(turns, o.Waiting),
		limit: hookLimit, functionLimit: functionLimit,
		pause: func(ctx context.Context) error { return sleep(ctx, hookPause) },
	}
	var err error
	if strings.HasPrefix(o.URI, "pg-functions:") {
		err = h.useFunction()
	} else {
		err = h.useHTTP()
	}
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", o.Name, err)
	}
	return h, nil
}

func (h *Hook) useFunction() error {
	m := functionURI.FindStringSubmatch(h.opt.URI)
	if m == nil {
		return errors.New("write pg-functions://postgres/<schema>/<function>, both of letters, digits and _")
	}
	if h.opt.Function == nil {
		return errors.New("only PostgreSQL has functions to call; with another database use an https:// hook")
	}
	h.schema, h.function = m[1], m[2]
	return nil
}

func (h *Hook) useHTTP() error {
	u, err := url.Parse(h.opt.URI)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("the URI is not an absolute URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("the URI must begin with https:// or pg-functions://")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return errors.New("http:// is for loopback hosts alone; use https://")
	case h.opt.Client == nil:
		return errors.New("no client to call it with")
	case u.Scheme == "http" && !h.opt.Client.AllowsPrivate():
		return errors.New("the URI is private, and outgoing requests to private addresses are not allowed")
	case !slices.ContainsFunc(h.opt.Secrets, func(s Secret) bool { return len(s) > 0 }):
		return errors.New("set a secret, or anybody could call the hook in our name")
	}
	// With slots of its own a slow hook keeps no other request waiting.
	h.client = h.opt.Client.Within(fetch.Limits{Timeout: h.limit, MaxBytes: maxAnswer, MaxConcurrent: h.opt.Waiting})
	return nil
}

// loopback reports whether host is this machine by its name or number.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// Format writes the hook's name for every verb: fmt would go past the masks of
// what is inside (fmt.Formatter).
func (h *Hook) Format(f fmt.State, _ rune) { io.WriteString(f, "hook "+h.opt.Name) }

// Metadata tells a hook about the call; inputs carry it as "metadata".
type Metadata struct {
	UUID      string    `json:"uuid"` // of the call
	Time      time.Time `json:"time"`
	Name      string    `json:"name"`       // of the hook
	IPAddress string    `json:"ip_address"` // of the client
}

// Metadata returns a call's metadata, now, for a client at ip.
func (h *Hook) Metadata(ip string) Metadata {
	return Metadata{UUID: newID(), Time: h.opt.Now().UTC(), Name: h.opt.Name, IPAddress: ip}
}

// Call asks the hook: in goes out as JSON, and the answer, a JSON object, is
// read into out, if that is not nil. An answer without content (204) counts as
// {}, and what is absent stays in out as it is: that all is there is for the
// caller to check.
//
// The error is a *Refusal if the hook said no, and otherwise a *Failure. Both
// mean no: out must not be used then.
func (h *Hook) Call(ctx context.Context, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return h.failed(ErrFailed, "the input cannot be written as JSON")
	}
	if !h.turns.take() {
		return h.failed(ErrBusy, "")
	}
	defer h.turns.leave()

	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	ask := h.post
	if h.function != "" {
		ask = h.run
	}
	answer, err := ask(ctx, body)
	if err != nil && errors.Is(parent.Err(), context.Canceled) {
		return h.failed(context.Canceled, "")
	}
	if err != nil {
		return err
	}
	return h.read(answer, out)
}

// run calls the database function.
func (h *Hook) run(ctx context.Context, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.functionLimit)
	defer cancel()
	answer, err := h.opt.Function(ctx, h.schema, h.function, body)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)):
		return nil, h.failed(ErrTimeout, err.Error())
	case err != nil:
		return nil, h.failed(ErrFailed, err.Error())
	case len(answer) > maxAnswer:
		return nil, h.failed(ErrTooLarge, "")
	}
	return answer, nil
}

// post calls the hook over HTTP, again if it asks for that.
func (h *Hook) post(ctx context.Context, body []byte) ([]byte, error) {
	id := newID() // one for all tries, so that the hook can tell them from calls
	for try := 1; ; try++ {
		res, err := h.send(ctx, id, body)
		switch {
		case res == nil && errors.Is(err, fetch.ErrTimeout) && try > 1:
			return nil, h.failed(ErrTimeoutAfterRetry, detailOf(err))
		case !asksForLater(res):
			return h.content(res, err)
		case try == hookTries:
			if no := refusalIn(res.Body); no != nil {
				return nil, no
			}
			return nil, h.failed(ErrTimeoutAfterRetry, "status "+strconv.Itoa(res.Status))
		}
		if err := h.pause(ctx); err != nil {
			return nil, h.failed(ErrTimeoutAfterRetry, "")
		}
	}
}

// send makes one try. Its results are those of fetch.Client.Do.
func (h *Hook) send(ctx context.Context, id string, body []byte) (*fetch.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be written")
	}
	req.Header = signWith(h.opt.Separator, id, h.opt.Now(), body, h.opt.Secrets)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	// Never sent, being empty, this tells net/http that it may repeat the call
	// on a new connection if a kept one turns out to be closed. The id makes
	// that safe.
	req.Header["Idempotency-Key"] = nil
	return h.client.Do(ctx, req)
}

func asksForLater(res *fetch.Response) bool {
	return res != nil && res.Header.Get("Retry-After") != "" &&
		(res.Status == http.StatusTooManyRequests || res.Status == http.StatusServiceUnavailable)
}

// content judges what send brought.
func (h *Hook) content(res *fetch.Response, err error) ([]byte, error) {
	switch {
	case errors.Is(err, fetch.ErrTimeout):
		return nil, h.failed(ErrTimeout, detailOf(err))
	case errors.Is(err, fetch.ErrTooLarge):
		return nil, h.failed(ErrTooLarge, "")
	case res == nil:
		return nil, h.failed(ErrFailed, detailOf(err))
	case res.Status == http.StatusNoContent:
		return []byte("{}"), nil
	case res.Status == http.StatusOK || res.Status == http.StatusAccepted:
		if t, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || t != "application/json" {
			return nil, h.failed(ErrContentType, "")
		}
		return res.Body, nil
	}
	if no := refusalIn(res.Body); no != nil {
		return nil, no
	}
	return nil, h.failed(ErrFailed, "status "+strconv.Itoa(res.Status))
}

// read decodes an answer into out, unless it refuses.
func (h *Hook) read(answer []byte, out any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil || fields == nil {
		return h.failed(ErrFailed, "the answer is not a JSON object")
	}
	if e, ok := fields["error"]; ok && string(e) != "null" {
		if no := refusalIn(answer); no != nil {
			return no
		}
		return h.failed(ErrFailed, "the answer has an error of unknown form")
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return h.failed(ErrFailed, "the answer has not the form it should have")
	}
	return nil
}

// refusalIn returns the refusal {"error":{"http_code":…,"message":…}} in body,
// nil if there is none.
func refusalIn(body []byte) *Refusal {
	var fields, e map[string]json.RawMessage
	if json.Unmarshal(body, &fields) == nil {
		_ = json.Unmarshal(fields["error"], &e) // of another form: e stays nil
	}
	if e == nil {
		return nil
	}
	no := &Refusal{Status: http.StatusInternalServerError}
	// A refusal must not become a success or a redirect.
	if code, err := strconv.Atoi(string(e["http_code"])); err == nil && code >= 400 && code <= 599 {
		no.Status = code
	}
	var message string
	if json.Unmarshal(e["message"], &message) == nil {
		no.Message = clean(message)
	}
	return no
}

// clean makes the words of another server fit for a log line and a page: no
// control characters, nor invisible ones that turn the text around.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "")
	}
	return s
}

func (h *Hook) failed(reason error, detail string) error {
	return &Failure{Callee: "hook " + h.opt.Name, Reason: reason, detail: detail}
}

// detailOf is what the network said.
func detailOf(err error) string {
	if fe, ok := errors.AsType[*fetch.Error](err); ok {
		return fe.Reason.Error() + ": " + fe.Detail()
	}
	return err.Error()
}

// turns bounds how many calls are under way.
type turns chan struct{}

func (t turns) take() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turns) leave() { <-t }

// sleep returns after d, or with an error when ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newID returns a random UUID (version 4, RFC 9562 §5.4).
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
