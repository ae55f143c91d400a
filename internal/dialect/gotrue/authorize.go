package gotrue

import (
	_ "embed"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// samlProvider is what Netlify's clients call the one identity provider of a
// site's company, and its users are known by.
const samlProvider = "saml"

// authorize handles "GET /authorize": a browser sets out for the pages of whoever
// keeps an account.
func (a *api) authorize(w http.ResponseWriter, r *http.Request) error {
	ticket := r.URL.Query().Get("ticket")
	if ticket != "" {
		return a.bringTicket(w, r, ticket)
	}
	wish, err := a.wish(r)
	if err != nil {
		return err
	}
	d, err := a.setOut(r, web.Caller(r), wish)
	if err == nil {
		err = a.depart(w, r, d, http.StatusFound)
	}
	if err == nil {
		return nil
	}
	// Nobody has left. That is no fault of the page's, which is where somebody waits.
	if c := auth.CodeOf(err); c == auth.ProviderUnavailable || c == auth.ProviderFailed {
		return a.sendError(w, r, wish.RedirectTo, wish.Netlify, err)
	}
	return err
}

// wish reads where a browser wants to go, and back to.
func (a *api) wish(r *http.Request) (auth.Wish, error) {
	q := r.URL.Query()
	pkce, err := pkceFields{q.Get("code_challenge"), q.Get("code_challenge_method")}.read()
	if err != nil {
		return auth.Wish{}, err
	}
	wish := auth.Wish{
		Method: "social", Provider: q.Get("provider"), RedirectTo: a.redirectTo(r), PKCE: pkce, Invite: q.Get("invite_token"),
		Scopes: q.Get("scopes"), Extra: extras(q),
		// Netlify's clients say neither where to go nor that they have a verifier.
		Netlify: a.manners(r) == Netlify && q.Get("redirect_to") == "" && pkce.Challenge == "",
	}
	if a.ExternalRedirect != "" {
		wish.RedirectTo = a.ExternalRedirect
	}
	switch wish.Provider {
	case "":
		return wish, auth.Invalid("provider", "Unsupported provider: none is named")
	case samlProvider:
		wish.Method = "saml"
	}
	return wish, nil
}

// ourParams are what a request says to this server, and what this server itself
// says to a provider: who could set those would choose where its answer goes.
var ourParams = []string{
	"provider", "redirect_to", "scopes", "invite_token", "ticket", "skip_http_redirect",
	"client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier", "grant_type", "nonce", "redirect_uri",
	"request", "request_uri", "response_mode", "response_type", "scope", "state",
}

// paramName is what parameters are called that are passed on: some servers take
// "client_id[]" for client_id.
var paramName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// extras are all other parameters, for the provider.
func extras(q url.Values) map[string][]string {
	var m map[string][]string
	for key, values := range q {
		if slices.Contains(ourParams, strings.ToLower(key)) || !paramName.MatchString(key) {
			continue
		}
		if m == nil {
			m = map[string][]string{}
		}
		m[key] = values
	}
	return m
}

// setOut is Service.SetOut in the words of these families: a way in that nobody
// has set up is a provider that is not enabled.
func (a *api) setOut(r *http.Request, c auth.Caller, wish auth.Wish) (*auth.Departure, error) {
	d, err := a.Auth.SetOut(r.Context(), c, wish)
	if err != nil && auth.CodeOf(err) == auth.MethodDisabled {
		err = &auth.Error{Code: auth.ProviderDisabled}
	}
	return d, err
}

// depart gives a browser what it has to bring back, and sends it off.
func (a *api) depart(w http.ResponseWriter, r *http.Request, d *auth.Departure, status int) error {
	err := a.keepJourney(w, r, d)
	if err != nil {
		return err
	}
	sendOn(w, status, d.URL)
	return nil
}

// linkIdentity handles "GET /user/identities/authorize": somebody signed in wants
// an account elsewhere to be theirs. The caller is a script, whose cookies browsers
// do not keep when it is of another site, and who comes back is the browser: so it
// is given an address of this server with a ticket, which the browser brings.
func (a *api) linkIdentity(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	wish, err := a.wish(r)
	if err != nil {
		return err
	}
	ticket, err := a.Auth.Ticket(r.Context(), web.Caller(r), v, wish)
	switch {
	case err != nil:
		return err
	case !a.offers(r, wish.Provider): // SetOut would say so to the browser, and no script would hear it
		return notOffered(wish.Provider)
	}
	target := *a.external // where the browser comes back to, and nowhere else: the cookie is of that host
	target.Path = strings.TrimSuffix(target.Path, "/") + "/authorize"
	target.RawQuery = url.Values{"ticket": {ticket}}.Encode()
	if len(target.RawQuery) > maxQuery {
		return auth.Invalid("provider", "There are too many parameters to pass on")
	}
	if skip(r.URL.Query().Get("skip_http_redirect")) {
		return web.JSON(w, http.StatusOK, map[string]string{"url": target.String()})
	}
	sendOn(w, http.StatusFound, target.String())
	return nil
}

// skip tells whether a client follows an address by itself.
func skip(v string) bool { return v == "true" || v == "1" }

// notOffered says of a provider that clients may know that it is not set up.
func notOffered(provider string) error {
	code := auth.ProviderUnknown
	if slices.Contains(externals, provider) {
		code = auth.ProviderDisabled
	}
	return &auth.Error{Code: code, Params: map[string]any{"problem": provider}}
}

// offers tells whether a provider is worth setting out for.
func (a *api) offers(r *http.Request, provider string) bool {
	added := strings.HasPrefix(provider, "custom:") && a.Title != nil && a.Title(r.Context(), provider) != ""
	return added || slices.Contains(a.Providers, provider) || provider == samlProvider && a.SAMLName != ""
}

//go:embed link.html
var linkHTML string

var linkTemplate = web.NewPage(linkHTML)

// bringTicket sends off a browser that brings a ticket, if it comes from a page of
// the application. A ticket that came by mail, or from anybody else's page, is
// asked about first: it would give somebody else's user the visitor's account.
func (a *api) bringTicket(w http.ResponseWriter, r *http.Request, ticket string) error {
	t, err := a.Auth.TicketOf(ticket)
	if err != nil {
		return err
	}
	if a.fromApp(r, t) && !prefetch(r) {
		return a.useTicket(w, r, ticket, http.StatusFound)
	}
	return linkTemplate.Write(w, http.StatusOK, "Connect an account", map[string]any{
		"Provider": a.title(r, t.Wish.Provider), "Email": t.Email, "Ticket": ticket,
	})
}

// fromApp tells whether a page of the application sent the browser here. One of
// this server's does not count, which anybody can lead through; it says nothing of
// where it is.
func (a *api) fromApp(r *http.Request, t *auth.Ticket) bool {
	for _, from := range []string{r.Referer(), r.Header.Get("Origin")} {
		o := web.Origin(from)
		if o != "" && (o == web.Origin(t.Wish.RedirectTo) || a.Redirects.Allowed(o+"/")) {
			return true
		}
	}
	return false
}

// confirmTicket handles "POST /authorize", the button of that page.
func (a *api) confirmTicket(w http.ResponseWriter, r *http.Request) error {
	err := a.csrf.Check(r) // a foreign page must not press it
	if err != nil {
		return auth.Invalid("origin", "This form was sent from another site")
	}
	err = web.Form(w, r)
	if err != nil {
		return err
	}
	ticket := r.PostForm.Get("ticket")
	if ticket == "" {
		return &auth.Error{Code: auth.StateFailed}
	}
	return a.useTicket(w, r, ticket, http.StatusSeeOther)
}

func (a *api) useTicket(w http.ResponseWriter, r *http.Request, ticket string, status int) error {
	d, err := a.setOut(r, web.Caller(r), auth.Wish{Ticket: ticket})
	if err == nil {
		err = a.depart(w, r, d, status)
	}
	if err == nil {
		return nil
	}
	t, bad := a.Auth.TicketOf(ticket)
	if bad != nil {
		return err
	}
	return a.sendError(w, r, a.landing(t.Wish.RedirectTo), t.Wish.Netlify, err)
}

// title is what a provider is called on a page.
func (a *api) title(r *http.Request, provider string) string {
	if provider == samlProvider {
		return "your company"
	}
	title := ""
	if a.Title != nil {
		title = a.Title(r.Context(), provider)
	}
	if title == "" { // who is not known is not named: the name came with the request
		return "another provider"
	}
	return title
}
