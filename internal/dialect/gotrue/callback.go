package gotrue

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

const (
	flowCookie = "gh_flow_" // begins the names of the cookies of journeys
	maxFlows   = 8          // journeys a browser is on at once: one for each tab that somebody signs in by
	maxCookie  = 4000       // bytes of name and value: browsers drop what is longer than 4,096 (RFC 6265 §6.1)
	maxKept    = 8 << 10    // bytes of all of them: a header that is too large would be refused, whatever it asks for
	maxQuery   = 6 << 10    // bytes of what a browser is given to bring back, for the same reason
	maxState   = 4 << 10    // where many tenants share an address, a state says whose it is
)

// flowName is the name of the cookie of a journey: two tabs do not take each
// other's, and the state itself is not in it, where a proxy may log it.
func flowName(state string) string {
	sum := sha256.Sum256([]byte(state))
	return flowCookie + hex.EncodeToString(sum[:8])
}

// flowCookieOf is sent to the API of this tenant alone. It is Lax, and not Strict,
// because another site sends the browser back. A prefix of __Host- needs the path
// "/", which other tenants share.
func (a *api) flowCookieOf(name, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: name, Value: value, Path: strings.TrimSuffix(a.external.Path, "/") + "/", HttpOnly: true, Secure: !a.onThisMachine(),
		SameSite: http.SameSiteLaxMode, MaxAge: -1,
	}
	if value != "" {
		c.MaxAge = int(life.Seconds())
	}
	return c
}

// keepJourney has the browser keep a journey, and forget those it has begun long
// ago: it sends the oldest first (RFC 6265 §5.4).
func (a *api) keepJourney(w http.ResponseWriter, r *http.Request, d *auth.Departure) error {
	c := a.flowCookieOf(flowName(d.State), d.Sealed, d.TTL)
	if len(c.Name)+len(c.Value) > maxCookie {
		return auth.Invalid("redirect_to", "The address to come back to is too long")
	}
	all := r.Cookies()
	slices.Reverse(all)
	count, bytes := 1, len(c.Name)+len(c.Value)
	for _, had := range all {
		if !strings.HasPrefix(had.Name, flowCookie) {
			continue
		}
		count, bytes = count+1, bytes+len(had.Name)+len(had.Value)
		if count > maxFlows || bytes > maxKept {
			http.SetCookie(w, a.flowCookieOf(had.Name, "", 0))
		}
	}
	http.SetCookie(w, c)
	return nil
}

// back is a journey that a browser has brought back.
type back struct {
	*auth.Journey
	sealed string
}

// comeBack finds the journey of a state, which nobody can have but the browser
// that set out, and has it forgotten there. It is not spent by it.
//
// Codes: StateFailed.
func (a *api) comeBack(w http.ResponseWriter, r *http.Request, method, state string) (back, error) {
	lost := &auth.Error{Code: auth.StateFailed}
	if state == "" || len(state) > maxState {
		return back{}, lost
	}
	name := flowName(state)
	c, err := r.Cookie(name)
	if err != nil {
		return back{}, lost
	}
	j, err := a.Auth.Peek(state, c.Value)
	if err == nil && j.Method != method {
		return back{}, lost // it comes back elsewhere
	}
	http.SetCookie(w, a.flowCookieOf(name, "", 0))
	return back{j, c.Value}, err
}

// callback handles "GET /callback": a browser comes back from a provider.
func (a *api) callback(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	b, err := a.comeBack(w, r, "social", q.Get("state"))
	if err != nil {
		return a.stray(w, r, err)
	}
	switch {
	case q.Get("error") != "":
		err = &auth.Error{Code: auth.ProviderRefused, Params: map[string]any{"error": q.Get("error"), "problem": q.Get("error_description")}}
	case q.Get("code") == "":
		err = &auth.Error{Code: auth.CallbackFailed}
	}
	if err != nil {
		return a.sendError(w, r, a.landing(b.RedirectTo), b.Netlify, err)
	}
	return a.arrive(w, r, b, auth.Input{Token: q.Get("code"), Form: q.Get("user"), Issuer: q.Get("iss")})
}

// arrive ends a journey: it is spent, whatever comes of it.
func (a *api) arrive(w http.ResponseWriter, r *http.Request, b back, in auth.Input) error {
	target := a.landing(b.RedirectTo)
	j, err := a.Auth.Return(r.Context(), web.Caller(r), b.State, b.sealed)
	if err != nil && auth.CodeOf(err) == auth.StateFailed {
		return a.stray(w, r, err)
	}
	if err != nil {
		return a.sendError(w, r, target, b.Netlify, err)
	}
	in.Journey = j
	in.Flow, err = a.flow(r, pkceFields{})
	if err != nil {
		return err
	}
	in.Flow.RedirectTo, in.Flow.PKCE = target, j.PKCE
	if a.LinkStyle != Netlify && a.LinkStyle != Supabase {
		in.Flow.Netlify = j.Netlify
	}
	return a.enter(w, r, j.Method, in, target, j.Netlify)
}

// enter signs in whoever came by a redirect, and sends them on.
func (a *api) enter(w http.ResponseWriter, r *http.Request, method string, in auth.Input, target string, netlify bool) error {
	g, err := a.Auth.SignIn(r.Context(), web.Caller(r), method, in, true)
	if err != nil {
		return a.sendError(w, r, target, netlify, err)
	}
	web.LineOf(r).User = g.User.ID.String()
	if g.AuthCode != "" {
		sendOn(w, http.StatusFound, withQuery(target, url.Values{"code": {g.AuthCode}}))
		return nil
	}
	v := url.Values{
		"access_token": {g.Access}, "token_type": {"bearer"}, "expires_in": {strconv.FormatInt(int64(g.TTL.Seconds()), 10)}, "refresh_token": {g.Refresh},
	}
	if !netlify { // whose widget takes what it gets as it is, and these may have characters that are escaped
		v.Set("expires_at", strconv.FormatInt(g.Expires.Unix(), 10))
		v.Set("sb", "")
		for key, token := range map[string]string{"provider_token": g.ProviderToken, "provider_refresh_token": g.ProviderRefresh} {
			if token != "" {
				v.Set(key, token)
			}
		}
	}
	sendOn(w, http.StatusFound, withFragment(target, v))
	return nil
}

// landing is where a journey ends, which was allowed when it began.
func (a *api) landing(redirectTo string) string {
	if redirectTo != "" && redirectTo == a.ExternalRedirect {
		return redirectTo
	}
	return a.Redirects.Choose(redirectTo)
}

// relay handles "POST /callback", as Apple's pages send it. Such a request brings
// no cookies along, being another site's: the browser is sent here once more, by a
// GET, which does.
func (a *api) relay(w http.ResponseWriter, r *http.Request) error {
	err := web.Form(w, r)
	if err != nil {
		return err
	}
	v := url.Values{}
	for key, longest := range map[string]int{
		"state": maxState, "code": 4 << 10, "error": 64, "error_description": 1 << 10, "iss": 1 << 10, "user": 2 << 10,
	} {
		value := r.PostForm.Get(key)
		if value != "" && len(value) <= longest {
			v.Set(key, value)
		}
	}
	if len(v.Encode()) > maxQuery {
		v.Del("user")
		v.Del("error_description")
	}
	sendOn(w, http.StatusSeeOther, "?"+v.Encode())
	return nil
}

// stray sends on a browser that comes back and never set out: to the site, which
// is the only place that is sure.
func (a *api) stray(w http.ResponseWriter, r *http.Request, err error) error {
	web.LineOf(r).Refused(err)
	sendOn(w, http.StatusSeeOther, withQuery(a.Redirects.Choose(), a.failure(r, false, err)))
	return nil
}

// sendError sends a browser on with what went wrong, in query and fragment, or
// for Netlify's clients in the fragment. Those are told nothing when a mail is
// under way that asks for one more click.
func (a *api) sendError(w http.ResponseWriter, r *http.Request, target string, netlify bool, err error) error {
	web.LineOf(r).Refused(err)
	v := a.failure(r, netlify, err)
	switch {
	case netlify && auth.CodeOf(err) == auth.ProviderUnproved:
		target, _, _ = strings.Cut(target, "#")
	case netlify:
		target = withFragment(target, v)
	default:
		target = withQuery(target, v)
		v.Set("sb", "")
		target = withFragment(target, v)
	}
	sendOn(w, http.StatusFound, target)
	return nil
}

// failure is an error as a redirect carries it (RFC 6749 §4.1.2.1).
func (a *api) failure(r *http.Request, netlify bool, err error) url.Values {
	an, e, msg := a.told(r, netlify, err)
	v := url.Values{"error": {redirectCode(an.status, netlify)}, "error_description": {msg}}
	if e.Code == auth.ProviderRefused {
		v.Set("error", "access_denied")
		if said, _ := e.Params["error"].(string); oauthWord.MatchString(said) {
			v.Set("error", said)
		}
	}
	if !netlify {
		v.Set("error_code", an.code)
	}
	return v
}

var oauthWord = regexp.MustCompile(`^[a-z_]{1,64}$`)

// redirectCode is the word of a redirect for a status. Netlify's clients know 422
// as a fault; it is most often a user who may not.
func redirectCode(status int, netlify bool) string {
	switch {
	case status == http.StatusBadRequest, status == http.StatusNotFound && !netlify:
		return "invalid_request"
	case status == http.StatusUnauthorized:
		return "unauthorized_client"
	case status == http.StatusForbidden, status == http.StatusUnprocessableEntity && !netlify:
		return "access_denied"
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests && !netlify:
		return "temporarily_unavailable"
	}
	return "server_error"
}

// elsewhere is what somebody else's server says, fit to be shown: as text, and no
// more of it than a line.
func elsewhere(said string) string {
	const longest = 200
	var b strings.Builder
	n := 0
	for _, c := range strings.ToValidUTF8(said, "") {
		if n == longest {
			break
		}
		if unicode.IsPrint(c) {
			b.WriteRune(c)
			n++
		}
	}
	return strings.TrimSpace(b.String())
}

// sendOn redirects a browser whose address holds secrets.
func sendOn(w http.ResponseWriter, status int, target string) {
	h := w.Header()
	h.Set("Location", target)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
}
