// Package pages are the hosted pages: the welcome, the making of the first
// administrator, and the development inbox. Begin with New.
//
// They work without scripts. They decide nothing about users.
package pages

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"gatehouse/internal/auth"
	"gatehouse/internal/notify"
	"gatehouse/internal/web"
)

//go:embed *.html
var files embed.FS

// Options are what the pages are made of.
type Options struct {
	Auth        *auth.Service
	Limits      *web.Limits
	Inbox       Inbox                         // nil: no development inbox
	Flow        func(*http.Request) auth.Flow // how links in mails that a page causes look
	SiteURL     string
	ExternalURL string
	Version     string
}

// Inbox holds the mails that were not sent.
type Inbox interface {
	Messages() []notify.Received // newest first
}

type pages struct {
	Options
	welcome, setup, done, inbox, problem, undo web.Page
	csrf                                       *http.CrossOriginProtection
}

// Mount adds the pages to mux.
func Mount(mux *http.ServeMux, o Options) {
	p := &pages{
		Options: o, csrf: http.NewCrossOriginProtection(),
		welcome: page("welcome.html"), setup: page("setup.html"), done: page("done.html"), inbox: page("inbox.html"), problem: page("problem.html"), undo: page("undo.html"),
	}
	handle := func(pattern string, f web.Func) { mux.Handle(pattern, web.Handle(f, p.fail)) }
	handle("GET /{$}", p.showWelcome)
	handle("GET /setup", p.showSetup)
	handle("POST /setup", p.doSetup)
	handle("GET /undo", p.showUndo)
	handle("POST /undo", p.doUndo)
	if o.Inbox != nil {
		handle("GET /dev/inbox", p.showInbox)
		handle("GET /dev/inbox/{id}", p.showMail)
		handle("GET /dev/inbox.json", p.inboxJSON)
	}
}

// page is one of the pages, which all tenants share.
func page(name string) web.Page { return parsed()[name] }

// parsed are the pages by name. They are parsed once and not for each tenant,
// where they were half of what one at work takes up.
var parsed = sync.OnceValue(func() map[string]web.Page {
	list, err := files.ReadDir(".")
	if err != nil {
		panic(err) // they are part of the binary
	}
	all := map[string]web.Page{}
	for _, f := range list {
		b, err := files.ReadFile(f.Name())
		if err != nil {
			panic(err)
		}
		all[f.Name()] = web.NewPage(string(b))
	}
	return all
})

// showWelcome handles "GET /", where people land when no site is configured.
func (p *pages) showWelcome(w http.ResponseWriter, _ *http.Request) error {
	return p.welcome.Write(w, http.StatusOK, "Gatehouse", map[string]any{
		"Site": p.SiteURL, "IsSite": p.SiteURL == p.ExternalURL, "External": p.ExternalURL, "Inbox": p.Inbox != nil, "Version": p.Version,
	})
}

// showSetup handles "GET /setup", the link that is printed at the first start.
func (p *pages) showSetup(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	_, err := p.Auth.Link(r.Context(), web.Caller(r), []auth.Kind{auth.KindSetup}, token)
	if auth.CodeOf(err) == auth.LinkFailed {
		return &auth.Error{Code: auth.SetupClosed}
	}
	if err != nil {
		return err
	}
	return p.setup.Write(w, http.StatusOK, "Make the first administrator", map[string]string{"Token": token})
}

// form reads the form of a page of ours.
func (p *pages) form(w http.ResponseWriter, r *http.Request) error {
	err := p.csrf.Check(r)
	if err != nil {
		return auth.Invalid("origin", "This form was sent from another site.")
	}
	err = p.Limits.Take(r, "verify")
	if err != nil {
		return err
	}
	return web.Form(w, r)
}

// doSetup handles the form of that page.
func (p *pages) doSetup(w http.ResponseWriter, r *http.Request) error {
	err := p.form(w, r)
	if err != nil {
		return err
	}
	token, email := r.PostForm.Get("token"), r.PostForm.Get("email")
	u, err := p.Auth.Setup(r.Context(), web.Caller(r), token, email, r.PostForm.Get("password"))
	code := auth.CodeOf(err)
	if err != nil && code != auth.SetupClosed && code != auth.Internal && code != auth.Busy && code != auth.Unavailable { // what a person can mend
		web.LineOf(r).Code = string(code)
		return p.setup.Write(w, http.StatusUnprocessableEntity, "Make the first administrator", map[string]string{
			"Token": token, "Email": email, "Problem": problems(err),
		})
	}
	if err != nil {
		return err
	}
	web.LineOf(r).User = u.ID.String()
	return p.done.Write(w, http.StatusOK, "You are the administrator", map[string]string{"Email": u.Email, "External": p.ExternalURL})
}

// problems is an error in words for the person at the page.
func problems(err error) string {
	var e *auth.Error
	if !errors.As(err, &e) {
		return "Something went wrong on our side. The log has the details."
	}
	switch e.Code {
	case auth.EmailInvalid:
		return "That is not an e-mail address we can use."
	case auth.PasswordMissing:
		return "Please choose a password."
	case auth.WeakPassword:
		reasons, ok := e.Params["reasons"].([]string)
		if ok && slices.Contains(reasons, "length") {
			return fmt.Sprintf("The password needs at least %v characters.", e.Params["min"])
		}
		if ok && slices.Contains(reasons, "pwned") {
			return "That password is among those everybody tries first."
		}
		return "The password needs more kinds of characters: small and capital letters, digits and symbols."
	case auth.PasswordTooLong:
		return "The password is longer than 1,024 bytes."
	case auth.EmailTaken:
		return "A user with that address exists already."
	case auth.SetupClosed:
		return "This link does not work any more: it is used up, older than 30 minutes, or there is an administrator. Restart the server for a new one, or run: gatehouse user promote ADDRESS"
	case auth.LinkFailed:
		return "This link does not work any more: it was used, is older than 72 hours, or another one took its place. If you pressed the button before, that was enough: look for our mail with a link to choose a new password."
	case auth.PhoneTaken:
		return "Another account has that phone number by now."
	case auth.NotFound:
		return "There is nothing here."
	case auth.BodyTooLarge:
		return "That is more than a form of ours can hold."
	case auth.MalformedBody:
		return "The form could not be read."
	case auth.Busy, auth.TooMany:
		return "Too many requests at once. Please try again in a moment."
	case auth.Unavailable:
		return "That cannot be done at the moment. Please try again shortly."
	case auth.InvalidInput:
		problem, ok := e.Params["problem"].(string)
		if ok {
			return problem
		}
	}
	return "That did not work (" + string(e.Code) + ")."
}

// fail writes an error as a page.
func (p *pages) fail(w http.ResponseWriter, _ *http.Request, err error) {
	status := http.StatusBadRequest
	switch auth.CodeOf(err) {
	case auth.SetupClosed, auth.NotAdmin:
		status = http.StatusForbidden
	case auth.NotFound:
		status = http.StatusNotFound
	case auth.BodyTooLarge:
		status = http.StatusRequestEntityTooLarge
	case auth.Busy, auth.TooMany:
		status = http.StatusTooManyRequests
		web.RetryAfter(w, err)
	case auth.Unavailable:
		status = http.StatusServiceUnavailable
		web.RetryAfter(w, auth.Told(err))
	case auth.Internal:
		status = http.StatusInternalServerError
	}
	_ = p.problem.Write(w, status, "That did not work", map[string]string{"Problem": problems(err)})
}

// local lets only a person at this machine see the inbox: it holds everybody's
// links. A page elsewhere that points its name at 127.0.0.1 comes with that
// name as Host, and one that asks localhost outright with its Origin, which the
// API would let read along.
func local(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	named := host == "localhost" || host == "127.0.0.1" || host == "::1"
	return named && r.Header.Get("Origin") == "" && web.Direct(r)
}

// showInbox handles "GET /dev/inbox".
func (p *pages) showInbox(w http.ResponseWriter, r *http.Request) error {
	if !local(r) {
		return &auth.Error{Code: auth.NotFound}
	}
	return p.inbox.Write(w, http.StatusOK, "Development inbox", p.Inbox.Messages())
}

// showMail handles "GET /dev/inbox/{id}": a mail as its reader sees it. It is
// somebody's template and holds somebody's data, so it may run nothing.
func (p *pages) showMail(w http.ResponseWriter, r *http.Request) error {
	if local(r) {
		for _, m := range p.Inbox.Messages() {
			if m.ID == r.PathValue("id") {
				h := w.Header()
				h.Set("Content-Type", "text/html; charset=utf-8")
				h.Set("Content-Security-Policy", "sandbox allow-popups allow-top-navigation-by-user-activation; default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; base-uri 'none'; frame-ancestors 'none'")
				h.Set("Cache-Control", "no-store")
				h.Set("Referrer-Policy", "no-referrer")
				_, _ = io.WriteString(w, m.HTML)
				return nil
			}
		}
	}
	return &auth.Error{Code: auth.NotFound}
}

// inboxJSON handles "GET /dev/inbox.json", for tests: ?to= picks an address, or
// a number, whose + a query easily loses.
func (p *pages) inboxJSON(w http.ResponseWriter, r *http.Request) error {
	if !local(r) {
		return &auth.Error{Code: auth.NotFound}
	}
	out := []notify.Received{}
	to := strings.TrimSpace(r.URL.Query().Get("to"))
	for _, m := range p.Inbox.Messages() {
		if to == "" || m.To == to || m.To == "+"+to {
			out = append(out, m)
		}
	}
	return web.JSON(w, http.StatusOK, out)
}
