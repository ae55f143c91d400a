package gotrue

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// Manners are whose way of speaking a request expects.
type Manners string

// The families. The empty value is Auto: each request tells.
const (
	Auto     Manners = "auto"
	Netlify  Manners = "netlify"
	Supabase Manners = "supabase"
)

// manners tells the families apart by what only one of them sends. A request
// that tells nothing is taken for the configured family, else for Supabase,
// whose answers are the more careful ones.
func (a *api) manners(r *http.Request) Manners {
	h := r.Header
	switch {
	case h.Get("X-Supabase-Api-Version") != "" || h.Get("X-Client-Info") != "" || h.Get("apikey") != "":
		return Supabase
	case h.Get("X-Nf-Client") != "":
		return Netlify
	case r.URL.Path == "/token" && web.IsForm(r):
		return Netlify
	case a.Manners == Netlify:
		return Netlify
	}
	return Supabase
}

// flow is where a mail flow leads and how its links look.
func (a *api) flow(r *http.Request, p pkceFields) (auth.Flow, error) {
	pkce, err := p.read()
	if err != nil {
		return auth.Flow{}, err
	}
	style := a.LinkStyle
	if style != Netlify && style != Supabase {
		style = a.manners(r)
	}
	external := a.linkBase(r)
	return auth.Flow{
		RedirectTo: a.redirectTo(r), PKCE: pkce, Netlify: style == Netlify,
		Links: func(k auth.Kind, token, redirectTo string) (server, client string) {
			return a.serverLink(external, k, token, redirectTo), a.clientLink(k, token)
		},
	}, nil
}

// redirectTo is where to go after a flow: what the request asks for if it may,
// else where it came from if it may, else the site. Only listed targets may.
func (a *api) redirectTo(r *http.Request) string {
	want := r.URL.Query().Get("redirect_to")
	if want == "" {
		want = r.Header.Get("redirect_to")
	}
	return a.Redirects.Choose(want, r.Referer())
}

// linkBase is the address of this server in links: never the Host of a
// request, unless the operator listed it.
func (a *api) linkBase(r *http.Request) *url.URL {
	for _, host := range []string{r.Header.Get("X-Forwarded-Host"), r.Host} {
		if host != "" && slices.Contains(a.LinkHosts, host) {
			u := *a.external
			u.Host = host
			return &u
		}
	}
	return a.external
}

// verifyType is what a kind of question is called on the wire.
var verifyType = map[auth.Kind]string{
	auth.KindConfirmation: "signup", auth.KindInvite: "invite", auth.KindRecovery: "recovery", auth.KindMagicLink: "magiclink",
	auth.KindChangeCurrent: "email_change", auth.KindChangeNew: "email_change",
}

// serverLink leads to this server, which finishes the flow.
func (a *api) serverLink(base *url.URL, k auth.Kind, token, redirectTo string) string {
	u := *base
	path := a.LinkPaths[k]
	if path == "" {
		path = "/verify"
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + strings.TrimPrefix(path, "/")
	q := url.Values{"token": {token}, "type": {verifyType[k]}, "redirect_to": {redirectTo}} // encoded: a target must not add parameters
	u.RawQuery = q.Encode()
	return u.String()
}

// fragment is the name Netlify's clients look for in the site's address.
var fragment = map[auth.Kind]string{
	auth.KindConfirmation: "confirmation_token", auth.KindInvite: "invite_token", auth.KindRecovery: "recovery_token",
	auth.KindMagicLink: "recovery_token", auth.KindChangeCurrent: "email_change_token", auth.KindChangeNew: "email_change_token",
}

// clientLink leads to the site, whose own script finishes the flow.
func (a *api) clientLink(k auth.Kind, token string) string {
	site := a.SiteURL
	path := a.LinkPaths[k]
	if path != "" {
		u, err := url.Parse(site)
		if err == nil {
			site = u.ResolveReference(&url.URL{Path: path}).String()
		}
	}
	if !strings.Contains(strings.TrimPrefix(strings.TrimPrefix(site, "https://"), "http://"), "/") {
		site += "/"
	}
	return site + "#" + fragment[k] + "=" + url.QueryEscape(token)
}

// pkceFields are the two fields of every call that starts a flow.
type pkceFields struct {
	CodeChallenge       string `json:"code_challenge"`
	CodeChallengeMethod string `json:"code_challenge_method"`
}

// read checks the pair (RFC 7636 §4.2, §4.3): both or none.
func (p pkceFields) read() (auth.PKCE, error) {
	if p.CodeChallenge == "" && p.CodeChallengeMethod == "" {
		return auth.PKCE{}, nil
	}
	if p.CodeChallenge == "" || p.CodeChallengeMethod == "" {
		return auth.PKCE{}, auth.Invalid("code_challenge", "PKCE flow requires code_challenge_method and code_challenge")
	}
	method := strings.ToLower(p.CodeChallengeMethod)
	if method != "s256" && method != "plain" {
		return auth.PKCE{}, auth.Invalid("code_challenge_method", "code_challenge_method must be s256 or plain")
	}
	if len(p.CodeChallenge) < 43 || len(p.CodeChallenge) > 128 {
		return auth.PKCE{}, auth.Invalid("code_challenge", "code challenge has to be between 43 and 128 characters")
	}
	for _, c := range p.CodeChallenge {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) {
			return auth.PKCE{}, auth.Invalid("code_challenge", "code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes")
		}
	}
	return auth.PKCE{Challenge: p.CodeChallenge, Method: method}, nil
}
