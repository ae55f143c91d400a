package gotrue

import (
	"net/http"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// tokenRequest is POST /token of both families.
type tokenRequest struct {
	Email        string `json:"email"`
	Phone        string `json:"phone"`
	Password     string `json:"password"`
	RefreshToken string `json:"refresh_token"`
	AuthCode     string `json:"auth_code"`
	CodeVerifier string `json:"code_verifier"`
	outsideRequest
	securityFields
}

// token handles "POST /token": a form with everything in it, or JSON with the
// grant in the query.
func (a *api) token(w http.ResponseWriter, r *http.Request) error {
	var in tokenRequest
	grant := r.URL.Query().Get("grant_type")
	if web.IsForm(r) {
		err := web.Form(w, r)
		if err != nil {
			return err
		}
		grant = r.FormValue("grant_type")
		in = tokenRequest{Email: r.FormValue("username"), Password: r.FormValue("password"), RefreshToken: r.FormValue("refresh_token"), outsideRequest: outsideForm(r)}
		if in.Email == "" {
			in.Email = r.FormValue("email")
		}
		in.Security.Token = r.FormValue("captcha_token")
	} else {
		err := web.Body(w, r, &in)
		if err != nil {
			return err
		}
	}
	g, err := a.exchange(r, grant, in)
	if err != nil {
		return err
	}
	web.LineOf(r).User = g.User.ID.String()
	a.setCookie(w, r, g)
	web.KeepDevice(w, r, g.Device, a.onThisMachine())
	return web.JSON(w, http.StatusOK, sessionJSON(g))
}

func (a *api) exchange(r *http.Request, grant string, in tokenRequest) (*auth.Grant, error) {
	c := web.Caller(r)
	switch grant {
	case "password":
		if in.Email != "" && in.Phone != "" {
			return nil, auth.Invalid("email", "Only an email address or phone number should be provided on login.")
		}
		if in.Email == "" && in.Phone == "" {
			return nil, auth.Invalid("email", "missing email or phone")
		}
		return a.Auth.SignIn(r.Context(), a.solver(r, in.Security.Token), "password", byPassword(in), false)
	case "refresh_token":
		if in.RefreshToken == "" {
			return nil, auth.Invalid("refresh_token", "refresh_token required")
		}
		if id, ok := a.Auth.RefreshSession(in.RefreshToken); ok {
			err := a.Limits.TakeOf(r, "session", id.String()) // an application that refreshes in a loop
			if err != nil {
				return nil, err
			}
		}
		return a.Auth.Refresh(r.Context(), c, in.RefreshToken)
	case "pkce":
		if in.AuthCode == "" || in.CodeVerifier == "" {
			return nil, auth.Invalid("auth_code", "invalid request: both auth code and code verifier should be non-empty")
		}
		return a.Auth.SignIn(r.Context(), c, "pkce", auth.Input{Token: in.AuthCode, Verifier: in.CodeVerifier}, false)
	}
	switch grant {
	case "id_token":
		g, err := a.byIDToken(r, in.outsideRequest)
		return g, inOAuth(err)
	case "web3":
		g, err := a.byWallet(r, in.outsideRequest, in.Security.Token)
		return g, inOAuth(err)
	}
	return nil, &auth.Error{Code: auth.MethodDisabled, Field: "grant_type"}
}

// byPassword reads who wants in. What is no address or number is one no user
// has: the answer and its cost are those of any wrong pair.
func byPassword(in tokenRequest) auth.Input {
	input := auth.Input{Password: in.Password}
	if in.Phone != "" {
		number, err := auth.CleanPhone(in.Phone)
		if err != nil {
			number = "0" // no number begins with it
		}
		input.Phone = number
		return input
	}
	input.Email, _ = auth.CleanEmail(in.Email)
	return input
}
