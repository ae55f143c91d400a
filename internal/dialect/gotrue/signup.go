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
	switch {
	case in.Email == "" && in.Phone != "":
		return &auth.Error{Code: auth.PhoneDisabled, Field: "phone"}
	case in.Email == "" && in.Password == "":
		return &auth.Error{Code: auth.AnonymousDisabled}
	case in.Email == "":
		return auth.Invalid("email", "To signup, please provide your email")
	}
	f, err := a.flow(r, in.pkceFields)
	if err != nil {
		return err
	}
	g, err := a.Auth.SignUp(r.Context(), web.Caller(r), auth.NewUser{
		Email: in.Email, Password: in.Password, Data: in.Data, Tell: a.TellTaken,
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
