package gotrue

import (
	"net/http"
	"strings"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// outsideRequest is what somebody else vouches for, in the place of a password.
type outsideRequest struct {
	Provider     string `json:"provider"`
	IDToken      string `json:"id_token"`
	Credential   string `json:"credential"` // the same, as Google's button names it
	AccessToken  string `json:"access_token"`
	Nonce        string `json:"nonce"`
	Issuer       string `json:"issuer"` // instead of the provider: of those that are configured, no key is looked for anywhere else
	LinkIdentity bool   `json:"link_identity"`

	Chain     string `json:"chain"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
}

func outsideForm(r *http.Request) outsideRequest {
	return outsideRequest{
		Provider: r.FormValue("provider"), IDToken: r.FormValue("id_token"), Credential: r.FormValue("credential"), AccessToken: r.FormValue("access_token"),
		Nonce: r.FormValue("nonce"), Issuer: r.FormValue("issuer"), LinkIdentity: r.FormValue("link_identity") == "true",
		Chain: r.FormValue("chain"), Message: r.FormValue("message"), Signature: r.FormValue("signature"),
	}
}

// limitedToken spends a request of POST /token. Signatures of wallets have a limit
// of their own.
func (a *api) limitedToken(w http.ResponseWriter, r *http.Request) error {
	name := "token"
	if r.URL.Query().Get("grant_type") == "web3" && !web.IsForm(r) {
		name = "web3"
	}
	err := a.Limits.Take(r, name)
	if err != nil {
		return err
	}
	return a.token(w, r)
}

// byIDToken signs in whom a provider's ID token is about, or links them to the
// bearer. Which issuer and which client a token must be of the configuration says,
// and never the request.
func (a *api) byIDToken(r *http.Request, in outsideRequest) (*auth.Grant, error) {
	token := in.IDToken
	if token == "" && in.Credential != "" {
		token = in.Credential
		if in.Provider == "" {
			in.Provider = "google"
		}
	}
	switch {
	case in.Provider == "" && in.Issuer == "":
		return nil, auth.Invalid("provider", "provider or issuer required")
	case token == "":
		return nil, auth.Invalid("id_token", "id_token required")
	}
	f, err := a.flow(r, pkceFields{})
	if err != nil {
		return nil, err
	}
	c := web.Caller(r)
	input := auth.Input{Provider: in.Provider, Token: token, AccessToken: in.AccessToken, Nonce: in.Nonce, Issuer: in.Issuer, Flow: f}
	var g *auth.Grant
	if in.LinkIdentity {
		var v *auth.Viewer
		v, err = a.Auth.Authenticate(r.Context(), c, web.Bearer(r))
		if err == nil {
			g, err = a.Auth.LinkIdentity(r.Context(), c, v, "idtoken", input)
		}
	} else {
		g, err = a.Auth.SignIn(r.Context(), c, "idtoken", input, false)
	}
	if err != nil && auth.CodeOf(err) == auth.MethodDisabled {
		err = &auth.Error{Code: auth.ProviderDisabled}
	}
	return g, err
}

// byWallet signs in whoever has signed a message with the key of a wallet.
func (a *api) byWallet(r *http.Request, in outsideRequest, captcha string) (*auth.Grant, error) {
	if web.IsForm(r) { // whose grant was not known before
		err := a.Limits.Take(r, "web3")
		if err != nil {
			return nil, err
		}
	}
	switch {
	case in.Message == "":
		return nil, auth.Invalid("message", "message required")
	case in.Signature == "":
		return nil, auth.Invalid("signature", "signature required")
	}
	g, err := a.Auth.SignIn(r.Context(), a.solver(r, captcha), "web3", auth.Input{
		Provider: strings.ToLower(in.Chain), Token: in.Message, Code: in.Signature,
	}, false)
	if err != nil && auth.CodeOf(err) == auth.MethodDisabled {
		err = &auth.Error{Code: auth.Web3Disabled}
	}
	return g, err
}

// oauthShaped is a failure that clients of either family read in the form of RFC
// 6749 §5.2.
type oauthShaped struct{ error }

func (e oauthShaped) Unwrap() error { return e.error }

// inOAuth gives that form to what is wrong with the word of somebody else.
func inOAuth(err error) error {
	if err == nil {
		return nil
	}
	switch auth.CodeOf(err) {
	case auth.InvalidInput, auth.IDTokenFailed, auth.Web3Failed:
		return oauthShaped{err}
	}
	return err
}
