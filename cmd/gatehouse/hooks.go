package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/fetch"
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
	"gatehouse/internal/webhook"
)

// callees are the operator's own services that a tenant asks and tells.
type callees struct {
	hooks  map[string]*webhook.Hook // by their name in settings, those that are turned on
	own    *webhook.Netlify         // of WEBHOOK_URL; nil: there is none
	events []string                 // that own is called for
	lent   map[string][]string      // by event, those a proxy in front names (function_hooks)
	called map[string]*webhook.Netlify
	log    *slog.Logger
}

// The names in settings of the hooks that are called here.
const (
	hookMail   = "SEND_EMAIL"
	hookText   = "SEND_SMS"
	hookClaims = "CUSTOM_ACCESS_TOKEN"
	hookTries  = "PASSWORD_VERIFICATION_ATTEMPT"
	hookBefore = "BEFORE_USER_CREATED"
	hookAfter  = "AFTER_USER_CREATED"
)

// calleesOf reads whom a tenant asks and tells. lent are addresses a proxy in
// front names for this request, which are called as WEBHOOK_URL is, signed with
// JWT_SECRET.
func calleesOf(cfg *config.Config, tenant auth.TenantID, lent map[string][]string, db *store.DB, out *fetch.Client, log *slog.Logger) (*callees, error) {
	c := &callees{hooks: map[string]*webhook.Hook{}, events: cfg.Webhook.Events, lent: lent, called: map[string]*webhook.Netlify{}, log: log}
	function := db.Function
	if db.Engine() != "postgres" {
		function = nil
	}
	for _, n := range cfg.Hooks.On() {
		h, err := newHook(n, out, function)
		if err != nil {
			return nil, fmt.Errorf("GATEHOUSE_HOOK_%s_…: %w", n.Name, err)
		}
		c.hooks[n.Name] = h
	}
	var err error
	if cfg.Webhook.URL != "" {
		c.own, err = netlifyHook(cfg, cfg.Webhook.URL, cfg.Webhook.Secret, tenant, out)
		if err != nil {
			return nil, fmt.Errorf("GATEHOUSE_WEBHOOK_URL: %w", err)
		}
	}
	for _, urls := range lent {
		for _, url := range urls {
			c.called[url], err = netlifyHook(cfg, url, cfg.JWT.Secret, tenant, out)
			if err != nil {
				return nil, fmt.Errorf("function_hooks: %w", err)
			}
		}
	}
	return c, nil
}

// lentHooks are the addresses a proxy in front names.
func lentHooks(variant string) map[string][]string {
	var v variation
	if json.Unmarshal([]byte(variant), &v) != nil { // of no variant at all, too
		return nil
	}
	return v.Hooks
}

// newHook is a hook of the settings.
func newHook(n config.NamedHook, out *fetch.Client, function func(ctx context.Context, schema, name string, in []byte) ([]byte, error)) (*webhook.Hook, error) {
	var secrets []webhook.Secret
	if n.Secrets != "" {
		var err error
		secrets, err = webhook.ParseSecrets(n.Secrets.Reveal())
		if err != nil {
			return nil, &secretError{err}
		}
	}
	return webhook.NewHook(webhook.HookOptions{
		Name: strings.ReplaceAll(strings.ToLower(n.Name), "_", "-"), URI: n.URI, Secrets: secrets, Client: out, Now: time.Now, Function: function,
	})
}

// secretError is about the secrets of a hook, which it does not repeat.
type secretError struct{ error }

// netlifyHook is a webhook at a URL, or at a path on the site.
func netlifyHook(cfg *config.Config, url string, secret config.Secret, tenant auth.TenantID, out *fetch.Client) (*webhook.Netlify, error) {
	// Offline verbs listen nowhere, and call nobody.
	site := cmp.Or(cfg.Site.URL, cfg.Server.ExternalURL, "http://"+cfg.Server.Addr())
	url, err := webhook.Resolve(site, url)
	if err != nil {
		return nil, err
	}
	return webhook.NewNetlify(webhook.NetlifyOptions{
		URL: url, Secret: webhook.Secret(secret.Reveal()), Retries: cfg.Webhook.Retries, Timeout: time.Duration(cfg.Webhook.Timeout) * time.Second,
		Client: out, Now: time.Now, Instance: tenant.String(),
	})
}

// core is what the rules have to know of them. What nobody wants to be asked is
// nil, and costs nothing.
func (c *callees) core() auth.Hooks {
	h := auth.Hooks{Told: map[auth.HookEvent][]string{}}
	if c.hooks[hookBefore] != nil || c.wants("validate") {
		h.BeforeUser = c.beforeUser
	}
	if c.wants("signup") || c.wants("login") {
		h.Entering = c.entering
	}
	if c.hooks[hookClaims] != nil {
		h.Claims = c.claims
	}
	if c.hooks[hookTries] != nil {
		h.PasswordTried = c.passwordTried
	}
	if c.hooks[hookAfter] != nil {
		h.Told[auth.HookUserCreated] = []string{hookAfter}
	}
	for event, name := range toldEvents {
		if c.own != nil && slices.Contains(c.events, name) {
			h.Told[event] = append(h.Told[event], ownWebhook)
		}
		h.Told[event] = append(h.Told[event], c.lent[name]...)
	}
	return h
}

// toldEvents are those a webhook is told of afterwards.
var toldEvents = map[auth.HookEvent]string{auth.HookUserModified: "usermodified", auth.HookUserDeleted: "userdeleted"}

// ownWebhook is News.To of WEBHOOK_URL.
const ownWebhook = "webhook"

// wants tells whether a webhook is called for an event.
func (c *callees) wants(event string) bool {
	return c.own != nil && slices.Contains(c.events, event) || len(c.lent[event]) > 0
}

// about is what every hook is told of its call.
type about struct {
	Metadata webhook.Metadata `json:"metadata"`
}

// aboutUser is what hooks about a user are told.
type aboutUser struct {
	about
	User json.RawMessage `json:"user"`
}

func (c *callees) beforeUser(ctx context.Context, by auth.Caller, u *auth.User) (auth.Changed, error) {
	if h := c.hooks[hookBefore]; h != nil {
		user, err := gotrue.UserJSON(u)
		if err == nil {
			err = h.Call(ctx, aboutUser{about{h.Metadata(by.IP)}, user}, nil)
		}
		if err != nil {
			return auth.Changed{}, c.no(by, err)
		}
	}
	if !c.wants("validate") {
		return auth.Changed{}, nil
	}
	return c.ask(ctx, by, "validate", u)
}

func (c *callees) entering(ctx context.Context, by auth.Caller, u *auth.User, first bool) (auth.Changed, error) {
	event := "login"
	if first {
		event = "signup"
	}
	return c.ask(ctx, by, event, u)
}

// ask calls every webhook of an event, one after the other. What one wants
// changed the next one sees.
func (c *callees) ask(ctx context.Context, by auth.Caller, event string, u *auth.User) (auth.Changed, error) {
	var all []*webhook.Netlify
	if c.own != nil && slices.Contains(c.events, event) {
		all = append(all, c.own)
	}
	for _, url := range c.lent[event] {
		all = append(all, c.called[url])
	}
	var ch auth.Changed
	now := *u
	for _, n := range all {
		user, err := gotrue.UserJSON(&now)
		if err != nil {
			return ch, err
		}
		answer, err := n.Call(ctx, event, user)
		if err != nil {
			return ch, c.no(by, err)
		}
		if answer.AppMetadata != nil {
			now.AppMetadata, ch.AppMetadata = answer.AppMetadata, answer.AppMetadata
		}
		if answer.UserMetadata != nil {
			now.UserMetadata, ch.UserMetadata = answer.UserMetadata, answer.UserMetadata
		}
	}
	return ch, nil
}

func (c *callees) claims(ctx context.Context, by auth.Caller, id auth.UserID, claims map[string]any, method string) (map[string]any, error) {
	h := c.hooks[hookClaims]
	in := struct {
		about
		UserID string         `json:"user_id"`
		Claims map[string]any `json:"claims"`
		Method string         `json:"authentication_method"`
	}{about{h.Metadata(by.IP)}, id.String(), claims, method}
	var out struct {
		Claims json.RawMessage `json:"claims"`
	}
	err := h.Call(ctx, in, &out)
	if err != nil {
		return nil, c.no(by, err)
	}
	d := json.NewDecoder(bytes.NewReader(out.Claims))
	d.UseNumber() // a number beyond 2⁵³ stays what it is
	var want map[string]any
	err = d.Decode(&want)
	if err != nil || want == nil {
		return nil, &auth.Error{Code: auth.HookFailed, Params: map[string]any{"problem": "output claims field is missing"}}
	}
	return want, nil
}

func (c *callees) passwordTried(ctx context.Context, by auth.Caller, id auth.UserID, valid bool) (v auth.PasswordVerdict, err error) {
	h := c.hooks[hookTries]
	in := struct {
		about
		UserID string `json:"user_id"`
		Valid  bool   `json:"valid"`
	}{about{h.Metadata(by.IP)}, id.String(), valid}
	var out struct {
		Decision string `json:"decision"`
		Message  string `json:"message"`
		LogOut   bool   `json:"should_logout_user"`
	}
	err = h.Call(ctx, in, &out)
	switch {
	case err != nil:
		return v, c.no(by, err)
	case out.Decision == "continue":
		return v, nil
	case out.Decision == "reject":
		return auth.PasswordVerdict{Reject: true, LogOut: out.LogOut, Message: out.Message}, nil
	}
	return v, &auth.Error{Code: auth.HookFailed, Err: errors.New("the hook's decision is neither continue nor reject")}
}

// failures say what a client is told of a call that brought nothing.
var failures = map[error]auth.Code{
	webhook.ErrTimeoutAfterRetry: auth.HookTimeoutRetry, webhook.ErrTooLarge: auth.HookTooLarge, webhook.ErrContentType: auth.HookContentType,
	webhook.ErrUnreachable: auth.WebhookUnreachable, webhook.ErrBadAnswer: auth.WebhookFailed,
}

// no is why nothing is done, for the client. What happened on the way is for the
// operator alone.
func (c *callees) no(by auth.Caller, err error) error {
	var refusal *webhook.Refusal
	if errors.As(err, &refusal) {
		c.log.Info("a hook refused a request", "status", refusal.Status, "request_id", by.RequestID)
		p := map[string]any{"status": refusal.Status}
		if refusal.Message != "" {
			p["problem"] = refusal.Message
		}
		return &auth.Error{Code: auth.HookRefused, Params: p}
	}
	var f *webhook.Failure
	if !errors.As(err, &f) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err // nobody waits for an answer
	}
	c.log.Warn("a hook gave no usable answer, which counts as a no", "hook", f.Callee, "reason", f.Reason, "detail", f.Detail(), "request_id", by.RequestID)
	own := strings.HasPrefix(f.Callee, "webhook ")
	code, known := failures[f.Reason]
	switch {
	case known:
	case errors.Is(err, webhook.ErrBusy):
		return &auth.Error{Code: auth.Busy, RetryAfter: time.Second, Err: err}
	case errors.Is(err, webhook.ErrTimeout) && own:
		code = auth.WebhookTimeout
	case errors.Is(err, webhook.ErrTimeout):
		code = auth.HookTimeout
	case errors.Is(err, webhook.ErrRejected):
		return &auth.Error{Code: auth.WebhookRefused, Params: map[string]any{"problem": strings.TrimPrefix(f.Callee, "webhook ")}, Err: err}
	case own:
		code = auth.WebhookFailed
	default:
		code = auth.HookFailed
	}
	return &auth.Error{Code: code, Err: err}
}

// tell delivers news to whom they are for. Its errors are the outbox's: what is
// not final is tried again.
func (h *house) tell(s *site) func(ctx context.Context, body []byte) error {
	return func(ctx context.Context, body []byte) error {
		var news auth.News
		var u auth.User
		err := json.Unmarshal(body, &news)
		if err == nil {
			err = json.Unmarshal(news.User, &u)
		}
		if err != nil {
			return &notify.PermanentError{Err: errors.New("the body is no news")}
		}
		user, err := gotrue.UserJSON(&u)
		if err != nil {
			return &notify.PermanentError{Err: errors.New("the user cannot be written")}
		}
		if news.To == hookAfter {
			hook := s.callees.hooks[hookAfter]
			if hook == nil {
				return &notify.PermanentError{Err: errors.New("the hook is turned off")}
			}
			return s.callees.undelivered(hook.Call(ctx, aboutUser{about{hook.Metadata(news.IP)}, user}, nil), true)
		}
		n := s.callees.own
		if news.To != ownWebhook { // named by a proxy in front, for that one request
			n, err = netlifyHook(s.cfg, news.To, s.cfg.JWT.Secret, s.tenant.ID, h.out)
		}
		if err != nil || n == nil {
			return &notify.PermanentError{Err: errors.New("the webhook is turned off")}
		}
		_, err = n.Call(ctx, toldEvents[news.Event], user)
		return s.callees.undelivered(err, true)
	}
}

// undelivered is what a call means for the outbox. final: any refusal is the last
// word; else one that is said to be the server's own fault is tried again.
func (c *callees) undelivered(err error, final bool) error {
	const tooEarly, tooMany = 425, 429
	var refusal *webhook.Refusal
	var f *webhook.Failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		again := refusal.Status >= 500 || refusal.Status == tooMany
		err = fmt.Errorf("the hook refused with %d", refusal.Status) // its words may hold an address
		if again && !final {
			return err
		}
		return &notify.PermanentError{Err: err}
	case errors.As(err, &f):
		c.log.Warn("a hook could not be told", "hook", f.Callee, "reason", f.Reason, "detail", f.Detail())
		if f.Status >= 400 && f.Status < 500 && f.Status != 408 && f.Status != tooEarly && f.Status != tooMany {
			return &notify.PermanentError{Err: fmt.Errorf("the webhook refused with %d", f.Status)}
		}
	}
	return err
}
