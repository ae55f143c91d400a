package gotrue

import (
	"net/http"
	"net/url"
	"strings"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// signOnRequest asks for the sign-in page of a company.
type signOnRequest struct {
	ProviderID       string `json:"provider_id"`
	Domain           string `json:"domain"`
	RedirectTo       string `json:"redirect_to"`
	SkipHTTPRedirect bool   `json:"skip_http_redirect"`
	pkceFields
	securityFields
}

func (a *api) signOnWish(r *http.Request, in signOnRequest) (auth.Wish, error) {
	pkce, err := in.read()
	switch {
	case err != nil:
	case in.ProviderID == "" && in.Domain == "":
		err = auth.Invalid("provider_id", "A sign-in needs a provider_id or a domain")
	case in.ProviderID != "" && in.Domain != "":
		err = auth.Invalid("provider_id", "A sign-in needs a provider_id or a domain, and not both")
	case in.ProviderID == samlProvider: // of Netlify's clients, which come by /authorize
		err = &auth.Error{Code: auth.SSONotFound}
	}
	return auth.Wish{
		Method: "saml", Provider: in.ProviderID, Domain: in.Domain, PKCE: pkce, RedirectTo: a.Redirects.Choose(in.RedirectTo, a.redirectTo(r)),
	}, err
}

// signOn handles "POST /sso". A script that goes on by itself is given an address
// of this server, not the company's: the browser has to bring back a cookie, which
// a script of another site cannot have it keep.
func (a *api) signOn(w http.ResponseWriter, r *http.Request) error {
	var in signOnRequest
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	wish, err := a.signOnWish(r, in)
	if err != nil {
		return err
	}
	wish.Solved = true
	d, err := a.setOutBySAML(r, a.solver(r, in.Security.Token), wish)
	if err != nil {
		return err
	}
	if !in.SkipHTTPRedirect {
		return a.depart(w, r, d, http.StatusSeeOther)
	}
	v := url.Values{"redirect_to": {wish.RedirectTo}}
	for key, value := range map[string]string{
		"provider_id": in.ProviderID, "domain": in.Domain, "code_challenge": in.CodeChallenge, "code_challenge_method": in.CodeChallengeMethod,
	} {
		if value != "" {
			v.Set(key, value)
		}
	}
	target := *a.external // where the browser comes back to: the cookie is of that host
	target.Path = strings.TrimSuffix(target.Path, "/") + "/sso/start"
	target.RawQuery = v.Encode()
	return web.JSON(w, http.StatusOK, map[string]string{"url": target.String()})
}

// startSignOn handles "GET /sso/start", the address that signOn gives.
func (a *api) startSignOn(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	wish, err := a.signOnWish(r, signOnRequest{
		ProviderID: q.Get("provider_id"), Domain: q.Get("domain"), RedirectTo: q.Get("redirect_to"),
		pkceFields: pkceFields{q.Get("code_challenge"), q.Get("code_challenge_method")},
	})
	if err != nil {
		return err
	}
	d, err := a.setOutBySAML(r, web.Caller(r), wish)
	if err != nil {
		return err
	}
	return a.depart(w, r, d, http.StatusFound)
}

func (a *api) setOutBySAML(r *http.Request, c auth.Caller, wish auth.Wish) (*auth.Departure, error) {
	d, err := a.Auth.SetOut(r.Context(), c, wish)
	return d, noSAML(err)
}

// noSAML names what is missing where SAML is no way in.
func noSAML(err error) error {
	if err != nil && auth.CodeOf(err) == auth.MethodDisabled {
		return &auth.Error{Code: auth.SAMLDisabled}
	}
	return err
}

// assertion handles "POST /sso/saml/acs", and Netlify's "POST /saml/acs". The
// company's page posts it, and browsers send no cookies with that: what it says is
// judged and sealed, and the browser brings it by a GET.
func (a *api) assertion(w http.ResponseWriter, r *http.Request) error {
	err := web.Form(w, r)
	if err != nil {
		return err
	}
	response, relay := r.PostForm.Get("SAMLResponse"), r.PostForm.Get("RelayState")
	target, state := a.Redirects.Choose(), ""
	switch {
	case isState(relay):
		state = relay
	case relay != "": // the company began, and says where to go
		target = a.Redirects.Choose(relay)
	}
	if response == "" {
		err = auth.Invalid("SAMLResponse", noArtifact(r.PostForm))
		return a.sendError(w, r, target, false, err)
	}
	got, err := a.Auth.Receive(r.Context(), web.Caller(r), "saml", auth.Input{Token: response, State: state})
	if err != nil {
		return a.sendError(w, r, target, false, noSAML(err))
	}
	v := url.Values{"ticket": {got.Ticket}}
	if got.State != "" {
		v.Set("state", got.State)
	} else {
		v.Set("redirect_to", target)
	}
	if len(v.Encode()) > maxQuery {
		return a.sendError(w, r, target, false, auth.Invalid("SAMLResponse", "The identity provider says more of the user than can be passed on: map fewer attributes"))
	}
	sendOn(w, http.StatusSeeOther, "finish?"+v.Encode())
	return nil
}

// isState tells a state of ours from the address that a company may send in its
// place.
func isState(relay string) bool {
	return len(relay) >= stateHead && len(relay) <= maxState && !strings.ContainsAny(relay, ":/")
}

// artifact handles "GET /sso/saml/acs", by which companies send the name of an
// assertion that they keep.
func (a *api) artifact(http.ResponseWriter, *http.Request) error {
	return auth.Invalid("SAMLResponse", noArtifact(url.Values{"SAMLart": {""}}))
}

func noArtifact(form url.Values) string {
	if form.Has("SAMLart") {
		return "The artifact binding of SAML is not supported: have the response posted"
	}
	return "SAMLResponse is missing"
}

// finishSignOn handles "GET /sso/saml/finish": the browser brings what its company
// has said, and shows that it set out for it, unless the company began.
func (a *api) finishSignOn(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	in := auth.Input{Token: q.Get("ticket")}
	state := q.Get("state")
	if state == "" {
		var err error
		in.Flow, err = a.flow(r, pkceFields{})
		if err != nil {
			return err
		}
		target := a.Redirects.Choose(q.Get("redirect_to"))
		in.Flow.RedirectTo = target
		return a.enter(w, r, "saml", in, target, false)
	}
	b, err := a.comeBack(w, r, "saml", state)
	if err != nil && auth.CodeOf(err) == auth.StateFailed {
		err = &auth.Error{Code: auth.RelayNotFound, Err: err}
	}
	if err != nil {
		return a.stray(w, r, err)
	}
	return a.arrive(w, r, b, in)
}

// metadata handles "GET /sso/saml/metadata", and Netlify's "GET /saml/metadata".
func (a *api) metadata(w http.ResponseWriter, r *http.Request) error {
	if a.Metadata == nil {
		return &auth.Error{Code: auth.SAMLDisabled}
	}
	body, err := a.Metadata()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/xml; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=600")
	if skip(r.URL.Query().Get("download")) {
		h.Set("Content-Disposition", `attachment; filename="metadata.xml"`)
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
	return nil
}
