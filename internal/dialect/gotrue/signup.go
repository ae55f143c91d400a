package gotrue

import (
	"net/http"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// signup handles "POST /signup".
func (a *api) signup(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email    string         `json:"email"`
		Phone    string         `json:"phone"`
		Password string         `json:"password"`
		Data     map[string]any `json:"data"`
		pkceFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.Email == "" {
		return noEmail(in.Phone)
	}
	f, err := a.flow(r, in.pkceFields)
	if err != nil {
		return err
	}
	g, err := a.Auth.SignUp(r.Context(), web.Caller(r), auth.NewUser{
		Email: in.Email, Password: in.Password, Data: in.Data, Tell: a.Manners == Netlify,
	}, f)
	if err != nil {
		return err
	}
	web.LineOf(r).User = g.User.ID.String()
	if g.Access == "" {
		return web.JSON(w, http.StatusOK, userJSON(&g.User))
	}
	a.setCookie(w, r, g)
	s := sessionJSON(g)
	return web.JSON(w, http.StatusOK, signedUp{s.User, s})
}

// noEmail says what is missing where an address is.
func noEmail(phone string) error {
	if phone != "" {
		return auth.Invalid("phone", "Phone logins are not supported yet")
	}
	return auth.Invalid("email", "To signup, please provide your email")
}
